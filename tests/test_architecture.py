"""The rooms of the project, and in which direction they import each other."""

from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).resolve().parents[1]


def test_no_import_runs_against_the_directions(capsys):
    """The contracts stand in pyproject.toml."""
    broken = lint_imports(str(ROOT / "pyproject.toml"), no_cache=True)

    assert broken == 0, capsys.readouterr().out


def test_core_of_tasks_is_few_files():
    assert len([*(ROOT / "tasks").glob("*.py")]) <= 12
