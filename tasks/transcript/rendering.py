"""Texts of agents as HTML that can do no harm.

All of them are hostile. Text becomes HTML in one place, `html_of()`, which escapes it all; Markdown
goes through a sanitiser besides. Markdown and highlighting are luxuries whose libraries take
quadratic time on some inputs: they have a limit of length, and a budget for each page.
"""

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
from tasks.transcript.invisible import UNSEEN_RUN, times, unseen_name
from tasks.transcript.terminal import Span

MARKDOWN_LENGTH = 20_000  # characters
_MANY_BRACKETS, _MANY_CELLS = 1_000, 5_000  # of more, Markdown takes or makes too much
_MANY_LEVELS = 50  # of quotes and lists inside one another
_MANY_SPANS, _MANY_UNSEEN = 4_000, 400  # of one text; what follows is plain

_PICTURE_MARKER = re.compile(r"\[(?:IMAGE|Image|image):[^\[\]\n<>]{1,400}\]")

_TAGS = {
    *("p", "br", "hr", "blockquote", "ul", "ol", "li"),
    *("strong", "em", "s", "code", "pre", "a", "span"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_SANITISER = nh3.Cleaner(
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
    """The processor time that Markdown and highlighting may take for one page."""

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
    """A settled output of a tool, in its colours."""
    return html_of(terminal.spans(text))


def code(text: str, language: str, budget: Budget) -> SafeString:
    """A text highlighted as far as the language is known and the budget goes."""
    with budget.spend():
        return html_of(highlighting.spans(text, language, budget.left))


def markdown(text: str, budget: Budget) -> SafeString:
    """Markdown as HTML; plain where it would take long."""
    if budget.left <= 0 or not _is_quick(text):
        return _paragraph(text)
    with budget.spend():
        env = {"budget": budget}
        tokens = _markdown.parse(text, env)
        if max((token.level for token in tokens), default=0) >= _MANY_LEVELS - 1:
            return _paragraph(text)  # what is deeper is left out
        html = _markdown.renderer.render(tokens, _markdown.options, env)
        return mark_safe(_SANITISER.clean(html))  # noqa: S308 (what the sanitiser left)


def _is_quick(text: str) -> bool:
    if len(text) > MARKDOWN_LENGTH or text.count("[") > _MANY_BRACKETS:
        return False
    lines = text.split("\n")
    return max(line.count("|") for line in lines) * len(lines) <= _MANY_CELLS


def _paragraph(text: str) -> SafeString:
    return mark_safe(f'<p class="text">{plain(text)}</p>')  # noqa: S308 (is escaped)


def html_of(spans: Iterable[Span]) -> SafeString:
    """Pieces of text with their classes. The one place where a text becomes HTML."""
    pieces, left = [], [_MANY_UNSEEN]
    for number, (classes, text) in enumerate(spans):
        escaped = _escaped(text, left)
        styled = classes and number < _MANY_SPANS
        pieces.append(f'<span class="{escape(classes)}">{escaped}</span>' if styled else escaped)
    return mark_safe("".join(pieces))  # noqa: S308 (all of it is escaped)


def _escaped(text: str, left: list[int]) -> str:
    """The text as HTML, what cannot be seen made visible, pictures as markers."""
    escaped = escape(text, quote=False)
    if "[" in escaped:
        escaped = _PICTURE_MARKER.sub(r'<span class="picture">\g<0></span>', escaped)
    if escaped.isascii() and escaped.isprintable():
        return escaped
    return UNSEEN_RUN.sub(lambda run: _made_visible(run, left), escaped)


def _made_visible(run: re.Match[str], left: list[int]) -> str:
    left[0] -= 1
    if left[0] < 0:
        return "\ufffd"
    return f'<span class="unseen">{unseen_name(run[1])}{times(run[0])}</span>'


class _Renderer(RendererHTML):
    """Markdown's renderer, with our own code blocks, and markers instead of pictures."""

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
        """No heading of the page: an agent's have no place in its outline."""
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
        named = " ".join(filter(None, ("image", token.content, source)))[:200]
        return f'<span class="picture">{plain(named)}</span>'


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        return re.match("(?:https?://|mailto:)", url, re.IGNORECASE) is not None


_OPTIONS = {"html": False, "breaks": True, "maxNesting": _MANY_LEVELS}
_markdown = _Markdown("commonmark", _OPTIONS, renderer_cls=_Renderer)
_markdown.enable(["table", "strikethrough"])
