"""Syntax highlighting: splits source code into spans by token type."""

import time
from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Generic, Keyword, Name, Number, Operator, String
from pygments.token import _TokenType as TokenType

from tasks.transcript.terminal import Span

MAX_LENGTH = 12_000  # characters; some lexers take quadratic time on longer text
_MAX_SECONDS = 0.15  # seconds of CPU time per piece of source code

_CLASS_OF = {
    Comment: "h-comment",
    Comment.Preproc: "h-keyword",
    Keyword: "h-keyword",
    Keyword.Type: "h-name",
    Operator.Word: "h-keyword",
    Name.Attribute: "h-name",
    Name.Builtin: "h-name",
    Name.Class: "h-name",
    Name.Decorator: "h-name",
    Name.Exception: "h-name",
    Name.Function: "h-name",
    Name.Tag: "h-keyword",
    Name.Variable: "h-name",
    Number: "h-number",
    Keyword.Constant: "h-number",
    String: "h-string",
    Generic.Deleted: "h-removed",
    Generic.Inserted: "h-added",
    Generic.Heading: "h-name",
    Generic.Subheading: "h-name",
    Generic.Prompt: "h-comment",
}
CLASSES = frozenset(_CLASS_OF.values())

_ALIASES = {
    "bash": ("sh", "shell", "zsh", "ksh"),
    "c": ("h",),
    "cpp": ("c++", "cc", "cxx", "hpp", "hh"),
    "csharp": ("c#", "cs"),
    "css": ("scss", "less"),
    "diff": ("patch", "udiff"),
    "docker": ("dockerfile", "containerfile"),
    "go": ("golang",),
    "html": ("htm", "xhtml", "vue"),
    "java": (),
    "javascript": ("js", "mjs", "cjs", "jsx"),
    "json": ("jsonl", "ndjson", "json5"),
    "kotlin": ("kt", "kts"),
    "lua": (),
    "markdown": ("md",),
    "nginx": (),
    "perl": ("pl", "pm"),
    "php": (),
    "python": ("py", "python3", "py3", "pyi"),
    "pycon": (),
    "r": (),
    "ruby": ("rb",),
    "rust": ("rs",),
    "sql": ("sqlite", "psql", "postgresql"),
    "swift": (),
    "toml": ("ini", "cfg", "conf", "service", "timer"),  # the INI lexer can be very slow
    "typescript": ("ts", "tsx", "mts"),
    "xml": ("svg", "xsl", "plist"),
    "yaml": ("yml",),
}
_LANGUAGES = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases)}


def language_of(path: str) -> str:
    """Guess a file's language from its extension. Return "" if it is unknown."""
    name = PurePosixPath(path[-200:]).name.lower()
    return _LANGUAGES.get(name.rpartition(".")[2], "")


def spans(text: str, language: str, seconds: float = _MAX_SECONDS) -> Iterator[Span]:
    """Split source code into spans. If time runs out, the rest becomes a single plain span."""
    name = _LANGUAGES.get(language.lower())
    if name is None or len(text) > MAX_LENGTH:
        yield "", text
        return
    end, position = time.thread_time() + min(seconds, _MAX_SECONDS), 0
    for start, kind, value in _lexer(name).get_tokens_unprocessed(text):
        if time.thread_time() > end:
            break
        position = start + len(value)
        yield _class_of(kind), value
    if position < len(text):
        yield "", text[position:]


@cache
def _lexer(name: str) -> Lexer:
    return get_lexer_by_name(name)


@cache
def _class_of(kind: TokenType) -> str:
    ancestors = reversed(kind.split())  # from the token type itself up to the root type
    return next((_CLASS_OF[each] for each in ancestors if each in _CLASS_OF), "")
