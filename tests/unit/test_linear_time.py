"""Tests that no text takes quadratic time, in any regular expression or function of the project.

The texts are built from each expression's own pieces, so new expressions are covered too.
`python -m benchmarks.worst_inputs` searches longer.
"""

import random
import re
import time
from collections.abc import Callable
from itertools import islice

import pytest

from masking import mask
from tasks.secrets.response_masking import mask_page
from tasks.transcript import export_markdown
from tests.support.hostile_texts import Pattern, Recipe, pieces, project_patterns, recipes

PATTERNS = project_patterns()
# Expressions that are only applied to short texts, or to a text that changes as they find matches.
LIMITED = {
    "masking.private_keys._TAIL[0]": "at most 64 characters",
    "tasks.sanitization._CANDIDATE[0]": "brackets that were tried are replaced",
}
COMBINATIONS = 25  # of pieces to try for each expression
SIZES = 500, 4_000  # characters
SLOW = 1e-6  # seconds per character that call for a closer look
TOO_LONG = 8  # times as long, for a text that is four times as long; if quadratic, it is 16 times

Task = Callable[[str], object]


def seconds(task: Task, text: str) -> float:
    started = time.thread_time()
    task(text)
    return time.thread_time() - started


def is_quadratic(task: Task, recipe: Recipe, size: int) -> bool:
    short, long = recipe.text(size), recipe.text(4 * size)
    return all(seconds(task, long) > TOO_LONG * seconds(task, short) for _ in range(4))


def quadratic_recipe(pattern: Pattern) -> Recipe | None:
    parts, source = pieces(pattern.regex), random.Random(0)  # noqa: S311 - not for cryptography
    for recipe in islice(recipes(parts, source), len(parts) + COMBINATIONS):
        for size in SIZES:
            if seconds(pattern.run, recipe.text(size)) > SLOW * size:
                if is_quadratic(pattern.run, recipe, size):
                    return recipe
                break
    return None


@pytest.mark.parametrize("name", sorted(PATTERNS.keys() - LIMITED))
def test_expression_takes_linear_time(name: str):
    assert quadratic_recipe(PATTERNS[name]) is None


@pytest.mark.parametrize("regex", [r"\\*+[\"']|\n", r"(?:<a)++>", r"\S+@\S+\.com", r"[\s-]+\Z"])
def test_expression_that_takes_quadratic_time_is_noticed(regex: str):
    assert quadratic_recipe(Pattern(re.compile(regex), is_anchored=False))


@pytest.mark.parametrize(
    ("task", "recipe"),
    [
        (mask, Recipe('token="', "\\", "")),
        (mask, Recipe("password='", "\\\\", "x")),
        (mask, Recipe('"secrets":{"a":"', "z@", '"')),
        (mask_page, Recipe("", "<a ", "")),
        (export_markdown._inline, Recipe("", "\\", "")),
    ],
)
def test_function_takes_linear_time(task: Task, recipe: Recipe):
    assert not is_quadratic(task, recipe, 6_000)  # longer than what is cached
