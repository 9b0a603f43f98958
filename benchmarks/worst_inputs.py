"""`python -m benchmarks.worst_inputs` searches for the texts that take longest per megabyte.

The texts are built from the pieces of the project's regular expressions. Each text is tried at
larger and larger sizes while it is among the slowest, and the slowest are varied.
"""

import argparse
import random
import time
from collections.abc import Callable
from html import escape
from typing import Any

from benchmarks.isolation import temporary_folder
from gloamy_site import connect
from tests.support.hostile_texts import Recipe, mutated, pieces, project_patterns, random_recipe

SIZES = 2_000, 16_000, 128_000, 1_000_000  # characters
KEPT = 30  # the slowest recipes, which are varied
REPORTED = 3
PATIENCE = 20  # seconds; a recipe that takes longer is not tried at larger sizes

Task = Callable[[str], object]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worst_inputs", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of processor time, in all")
    parser.add_argument("--only", nargs="+", help="names of tasks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with temporary_folder() as folder:
        connect(database_url=f"sqlite:///{folder}/tasks.db")
        tasks = {k: v for k, v in _tasks().items() if not options.only or k in options.only}
        parts = _pieces()
        for name, task in tasks.items():
            search = Search(task, parts, options.seed)
            search.run(60 * options.minutes / len(tasks))
            print(f"{name}: {search.tried:,} texts", flush=True)
            for rate, size, recipe in search.slowest()[:REPORTED]:
                print(f"  {rate:6.2f} s/MB at {size:9,} characters: {recipe!s:.160}", flush=True)


class Search:
    """Looks for the slowest recipes for one task."""

    def __init__(self, task: Task, parts: list[str], seed: int) -> None:
        self.task, self.parts, self.source = task, parts, random.Random(seed)
        self.tried = 0
        self.kept: dict[Recipe, tuple[float, int]] = {}  # seconds per megabyte, at a size

    def run(self, seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            is_new = not self.kept or self.source.random() < 0.4
            kept = self.source.choice(list(self.kept) or [Recipe("", "", "")])
            recipe = (
                random_recipe(self.parts, self.source)
                if is_new
                else mutated(kept, self.parts, self.source)
            )
            if recipe not in self.kept:
                self._try(recipe)

    def slowest(self) -> list[tuple[float, int, Recipe]]:
        rows = [(rate, size, recipe) for recipe, (rate, size) in self.kept.items()]
        return sorted(rows, reverse=True)

    def _try(self, recipe: Recipe) -> None:
        self.tried += 1
        least = min(rate for rate, _ in self.kept.values()) if len(self.kept) >= KEPT else 0
        rate, size = 0.0, 0
        for size in SIZES:
            rate = self._rate(recipe, size, least)
            if rate < least or rate * size / 1e6 > PATIENCE:
                break
        self.kept[recipe] = rate, size
        if len(self.kept) > KEPT:
            del self.kept[min(self.kept, key=lambda each: self.kept[each][0])]

    def _rate(self, recipe: Recipe, size: int, least: float) -> float:
        """Return the seconds per megabyte; if it seems slow, the least of three times."""
        text = recipe.text(size)
        rate = float("inf")
        for _ in range(3):
            started = time.thread_time()
            self.task(text)
            rate = min(rate, (time.thread_time() - started) / len(text) * 1e6)
            if rate < least or rate * size / 1e6 > PATIENCE:
                break
        return rate


def _pieces() -> list[str]:
    regexes = [pattern.regex for pattern in project_patterns().values()]
    return list(dict.fromkeys(piece for regex in regexes for piece in pieces(regex)))


def _tasks() -> dict[str, Task]:
    import masking
    from tasks.escaping import one_line
    from tasks.messages import ChatMessage
    from tasks.sanitization import strip_tool_call_tags
    from tasks.secrets import request_masking, response_masking
    from tasks.transcript import export, find, rendering, search, terminal, titles
    from tasks.transcript.invisible import escape_invisible, escape_invisible_in_html

    def page_of_pieces(text: str) -> object:
        parts = [escape(text[at : at + 40]) for at in range(0, len(text), 40)]
        return response_masking.mask_page("".join(f'<p title="{p}"><b>{p}</b></p>' for p in parts))

    def searches(text: str) -> object:
        terms = [search.Term(query) for query in (text[:3], text[-5:], f"{text[3:9]}\x01")]
        return [sum(1 for _ in term.spans(text)) for term in terms]

    def in_blocks(size: int, task: Task) -> Task:
        return lambda text: [task(text[at : at + size]) for at in range(0, len(text), size)]

    return {
        "mask": masking.mask,
        "mask JSON": lambda text: masking.mask(export._json([text, {"password": text}]).decode()),
        "mask field": in_blocks(9_000, lambda text: request_masking.mask_field("password", text)),
        "page": lambda text: response_masking.mask_page(f"<p>{escape(text)}</p>"),
        "page of pieces": page_of_pieces,
        "page, unescaped": response_masking.mask_page,
        "stream": lambda text: response_masking.mask_text(text.encode("utf-8", "replace")),
        "sanitize": strip_tool_call_tags,
        "Markdown": in_blocks(
            rendering.MARKDOWN_LENGTH, lambda text: rendering.markdown(text, rendering.Budget())
        ),
        "code": in_blocks(12_000, lambda text: rendering.code(text, "python", rendering.Budget())),
        "ANSI": lambda text: rendering.output(terminal.replay(text)),
        "search": searches,
        "find": lambda text: find.find_hits(text[:4], [ChatMessage("user", text)]),
        "diff": _diffs,
        "preview": _previews,
        "tool calls": _tool_calls,
        "title": lambda text: (titles.message_title(text), titles.note_summary(text)),
        "invisible": lambda text: (escape_invisible(text), escape_invisible_in_html(text)),
        "one line": one_line,
        "file name": lambda text: export.file_name(text, "json"),
        **{
            f"export as {form}": lambda text, form=form: _export(text, form)  # type: ignore[misc]
            for form in ("json", "jsonl", "md")
        },
    }


def _diffs(text: str) -> None:
    from tasks.transcript.diffs import changed_lines, diff_lines

    half = len(text) // 2
    for new in (text[1:], f"{text[:half]}x\n{text[half:]}", text[::-1]):
        list(diff_lines(text, new))
        changed_lines(text, new)


def _previews(text: str) -> list[Any]:
    from tasks.transcript.text_preview import Output, Text

    shown = [kind(text) for kind in (Text, Output)]
    return [(each.preview, each.display, each.is_long, each.extent) for each in shown]


def _tool_calls(text: str) -> list[Any]:
    from tasks.transcript.tool_calls import RESULTS_HEAD, Call, parse_assistant, parse_results

    call = f'<tool_call>{{"name":"a","arguments":{{}}}}</tool_call>{text}'
    parts = [*parse_assistant(text)[1], *parse_assistant(call)[1]]
    results = [parse_results("user", RESULTS_HEAD + text), parse_results("tool", text)]
    arguments = [part.parsed_arguments for part in parts if isinstance(part, Call)]
    return [results, [(each.fields, each.diff, each.single_text) for each in arguments]]


def _export(text: str, form: str) -> int:
    from django.utils import timezone

    from tasks.messages import ChatMessage, encode_history
    from tasks.models import TaskRecord
    from tasks.secrets import response_masking
    from tasks.transcript import export

    part = text[: len(text) // 4].encode("utf-8", "replace").decode()
    messages = [ChatMessage("user", "x"), ChatMessage(part, ""), ChatMessage("assistant", part)]
    record = TaskRecord(
        task_id="0",
        thread_id="0",
        provider="",
        model="",
        status="failed",
        execution_history_json=encode_history([*messages, ChatMessage("tool", part)], "history"),
        resumable_history_json="[]",
        last_error=part,
        created_at=timezone.now(),
        updated_at=timezone.now(),
    )
    encoded = (
        chunk.encode() if isinstance(chunk, str) else chunk
        for chunk in export.FORMATS[form].chunks([record])
    )
    return sum(map(len, response_masking.mask_stream(encoded, is_json=form != "md")))


if __name__ == "__main__":
    main()
