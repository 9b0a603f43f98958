"""Turns text from agents into safe HTML: plain text, terminal output, code and Markdown.

Text from agents is untrusted. Only `html_of()` turns text into HTML, and it escapes everything.
Rendered Markdown also goes through a sanitizer. The Markdown and highlighting libraries take
quadratic time on some inputs, so input length is limited and each page has a time budget.
"""

import itertools
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from tasks.transcript import highlighting, terminal
from tasks.transcript.invisible import INVISIBLE_RUN, describe
from tasks.transcript.terminal import Span

MARKDOWN_LENGTH = 20_000  # characters; anything longer is shown as plain text
_MAX_BRACKETS, _MAX_CELLS = 1_000, 5_000  # with more, Markdown is too slow or its HTML too big
_MAX_NESTING = 50  # levels of nested quotes and lists
_MAX_SPANS, _MAX_INVISIBLE = 4_000, 400  # per piece of text; any more get no markup

_IMAGE_MARKER = re.compile(r"\[(?:IMAGE|Image|image):[^\[\]\n<>]{1,400}\]")

_TAGS = {
    *("p", "br", "hr", "blockquote", "ul", "ol", "li"),
    *("strong", "em", "s", "code", "pre", "a", "span"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_SANITIZER = nh3.Cleaner(
    tags=_TAGS,
    attributes={"*": set(), "a": {"href"}, "ol": {"start"}},
    allowed_classes={
        "span": {*highlighting.CLASSES, "unseen", "picture"},
        "pre": {"code"},
        "p": _HEADINGS,
        "th": {"right", "center"},
        "td": {"right", "center"},
    },
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer",
)


class Budget:
    """The CPU time left, in seconds, to render Markdown and highlight code on one page."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.left = seconds

    @contextmanager
    def spend(self) -> Iterator[None]:
        started = time.thread_time()
        try:
            yield
        finally:
            self.left -= time.thread_time() - started


def plain(text: str) -> SafeString:
    return html_of([("", text)])


def output(text: str) -> SafeString:
    """Render terminal output that `terminal.replay()` has processed, with its colors."""
    return html_of(terminal.spans(text))


def code(text: str, language: str, budget: Budget) -> SafeString:
    """Render code, highlighted unless the language is unknown or the time budget is spent."""
    with budget.spend():
        return html_of(highlighting.spans(text, language, budget.left))


def markdown(text: str, budget: Budget) -> SafeString:
    """Render text as Markdown, or as plain text if Markdown would take too long."""
    if budget.left <= 0 or not _is_quick(text):
        return _paragraph(text)
    with budget.spend():
        env = {"budget": budget}
        tokens = _markdown.parse(text, env)
        if max((token.level for token in tokens), default=0) >= _MAX_NESTING - 1:
            return _paragraph(text)  # the parser drops anything nested more deeply
        html = _markdown.renderer.render(tokens, _markdown.options, env)
        return mark_safe(_SANITIZER.clean(html))  # noqa: S308 - already sanitized


def _is_quick(text: str) -> bool:
    if len(text) > MARKDOWN_LENGTH or text.count("[") > _MAX_BRACKETS:
        return False
    lines = text.split("\n")
    return max(line.count("|") for line in lines) * len(lines) <= _MAX_CELLS


def _paragraph(text: str) -> SafeString:
    return mark_safe(f'<p class="text">{plain(text)}</p>')  # noqa: S308 - already escaped


def html_of(spans: Iterable[Span]) -> SafeString:
    """Join spans of text into HTML, escaping everything. No other function turns text into HTML."""
    parts, marks = [], itertools.count(1)
    for number, (classes, text) in enumerate(spans):
        escaped = _escape(text, marks)
        is_styled = classes and number < _MAX_SPANS
        parts.append(f'<span class="{escape(classes)}">{escaped}</span>' if is_styled else escaped)
    return mark_safe("".join(parts))  # noqa: S308 - every part is escaped


def _escape(text: str, marks: Iterator[int]) -> str:
    """Escape text, marking images and invisible characters. `marks` counts the invisible ones."""
    escaped = escape(text, quote=False)
    if "[" in escaped:
        escaped = _IMAGE_MARKER.sub(r'<span class="picture">\g<0></span>', escaped)
    if escaped.isascii() and escaped.isprintable():
        return escaped

    def mark(run: re.Match[str]) -> str:
        if next(marks) > _MAX_INVISIBLE:
            return "\ufffd"
        return f'<span class="unseen">{describe(run[0])}</span>'

    return INVISIBLE_RUN.sub(mark, escaped)


class _Renderer(RendererHTML):
    """A Markdown renderer that highlights code blocks and replaces images with text labels."""

    def text(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return plain(tokens[idx].content)

    def code_inline(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return f"<code>{plain(tokens[idx].content)}</code>"

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        token = tokens[idx]
        language = token.info.strip().partition(" ")[0]
        highlighted = code(token.content.rstrip("\n"), language, env["budget"])
        return f'<pre class="code"><code>{highlighted}</code></pre>\n'

    code_block = fence

    def heading_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Render a heading as a paragraph, to keep agents' headings out of the page outline."""
        return f'<p class="{tokens[idx].tag}">'

    def heading_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        return "</p>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        token = tokens[idx]
        side = str(token.attrGet("style") or "").removeprefix("text-align:")
        return f'<{token.tag} class="{side}">' if side in ("right", "center") else f"<{token.tag}>"

    td_open = th_open

    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        token = tokens[idx]
        source = str(token.attrGet("src") or "")
        label = " ".join(filter(None, ("image", token.content, source)))[:200]
        return f'<span class="picture">{plain(label)}</span>'


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        return re.match("(?:https?://|mailto:)", url, re.IGNORECASE) is not None


_OPTIONS = {"html": False, "breaks": True, "maxNesting": _MAX_NESTING}
_markdown = _Markdown("commonmark", _OPTIONS, renderer_cls=_Renderer)
_markdown.enable(["table", "strikethrough"])
