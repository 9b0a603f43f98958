"""Tests the import rules between packages, and that ARCHITECTURE.md describes the packages."""

import re
import tomllib
from pathlib import Path

from tests.support.processes import run_python

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
LAYERS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"][0]["layers"]


def test_imports_keep_the_contracts():
    # in a process of its own, because it disables all loggers there are
    command = "from importlinter.cli import lint_imports; exit(lint_imports(no_cache=True))"

    result = run_python("-c", command)

    assert result.returncode == 0, result.stdout


def test_every_module_of_tasks_is_in_a_layer():
    listed = {name for layer in LAYERS for name in layer.split(" | ")}
    modules = {path.stem for path in (ROOT / "tasks").glob("*.py")}
    packages = {path.parent.name for path in (ROOT / "tasks").glob("*/__init__.py")}
    imported_by_django = {"__init__", "apps", "migrations"}

    assert {f"tasks.{name}" for name in (modules | packages) - imported_by_django} <= listed


def test_architecture_lists_the_layers_of_the_contracts():
    layers = [layer.replace(" | ", "   ") for layer in LAYERS]

    assert "\n".join(["```", *layers, "```"]) in ARCHITECTURE


def test_architecture_names_files_that_exist():
    names = re.findall(r"`([\w/]+(?:/|\.\w+))`", ARCHITECTURE)
    paths = [name for name in names if "/" in name]

    assert len(paths) > 30
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_core_of_tasks_is_few_files():
    assert len([*(ROOT / "tasks").glob("*.py")]) <= 12


def test_templates_have_short_lines():
    lines = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in (ROOT / "templates").rglob("*.html")
        for line in path.read_text(encoding="utf-8").splitlines()
        if len(line) > 120
    ]

    assert lines == []
