"""Builds texts on which regular expressions may be slow, from the pieces of the expressions."""

import importlib
import pkgutil
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

PACKAGES = ("masking", "tasks", "gloamy_site", "archive")
_STARTS_A_SERVER = {"gloamy_site.fork_server", "gloamy_site.wsgi"}  # when imported
# What a regular expression consists of. Verbose ones also have blanks and comments.
_SYNTAX = re.compile(
    r"(?P<class>\[\^?+\]?+(?:\\.|[^\]\\])*+\]|\.|\\[wWsSdD])"
    r"|(?P<mark>\(\?P[<=]\w++[>)]|\(\?\(\w++\)|\(\?[a-zA-Z-]++[:)]|\(\?<?+[=!:>]|[()|^$]|\\[AZbB]"
    r"|(?:[*+?]|\{[0-9]++(?:,[0-9]*+)?\})[+?]?+)"
    r"|(?P<character>\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|.)",
    re.DOTALL,
)
_BLANKS = re.compile(r"\s++|#[^\n]*+")
_NAMED_CHARACTERS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "0": "\0"}
_PROBES = "aZ0 \n\t\\\"'`=:;,.&|<>[]{}()%$#@!*+-_/~?^é\x1b\x07\0\u200d"


class Pattern(NamedTuple):
    """A regular expression, and whether the code tries it at one position at a time only."""

    regex: re.Pattern[Any]
    is_anchored: bool

    def run(self, text: str) -> None:
        """Apply the expression as the code does."""
        is_bytes = isinstance(self.regex.pattern, bytes)
        subject = text.encode("utf-8", "surrogatepass") if is_bytes else text
        if self.is_anchored:
            self.regex.match(subject)
            self.regex.fullmatch(subject)
            return
        for _ in self.regex.finditer(subject):
            pass


def project_patterns() -> dict[str, Pattern]:
    """Return all regular expressions in the globals of the project's modules, by their names."""
    names = list(_modules())
    sources = {name: _source(importlib.import_module(name)) for name in names}
    everything = "\n".join(sources.values())
    patterns: dict[str, Pattern] = {}
    for module, source in sources.items():
        for name, value in vars(sys.modules[module]).items():
            if not re.search(rf"^ *{name}\b[^=\n]*=", source, re.MULTILINE):
                continue  # imported
            scope = source if name.startswith("_") else everything
            for number, (regex, is_bound) in enumerate(_regexes(value, sys.modules[module])):
                pattern = Pattern(regex, is_bound or _is_anchored(name, scope))
                if pattern not in patterns.values():
                    patterns[f"{module}.{name}[{number}]"] = pattern
    return patterns


def _source(module: ModuleType) -> str:
    return Path(module.__file__ or "").read_text(encoding="utf-8")


def _modules() -> Iterator[str]:
    for package in PACKAGES:
        yield package
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, f"{package}."):
            if module.name not in _STARTS_A_SERVER:
                yield module.name


def _regexes(value: Any, module: ModuleType) -> Iterator[tuple[re.Pattern[Any], bool]]:
    """Yield the expressions in a value, and whether each is bound to the method `match`."""
    if isinstance(value, re.Pattern):
        yield value, False
    elif isinstance(getattr(value, "__self__", None), re.Pattern):
        yield value.__self__, value.__name__ == "match"
    elif isinstance(value, dict):
        yield from _regexes(list(value.values()), module)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _regexes(item, module)
    elif isinstance(value, type) and value.__module__ == module.__name__:
        yield from _regexes(list(vars(value).values()), module)


def _is_anchored(name: str, source: str) -> bool:
    """Return whether each use of a name in the source is a call of `match` or `fullmatch`."""
    code = re.sub(rf"(?m)^ *{name}\b[^=\n]*=|^from .*|#.*", "", source)
    uses = re.findall(rf"\b{name}\b(?:\[\w+\])?(\.\w+\(|)", code)
    return bool(uses) and set(uses) <= {".match(", ".fullmatch("}


def pieces(regex: re.Pattern[Any]) -> list[str]:
    """Return an expression's literals and examples of its character classes, in its order."""
    source = regex.pattern
    source = source.decode("latin-1") if isinstance(source, bytes) else source
    found, literal, position = [], "", 0
    while token := _SYNTAX.match(source, position):
        position = token.end()
        if regex.flags & re.VERBOSE and (blank := _BLANKS.match(source, token.start())):
            position = blank.end()
        elif token["character"]:
            literal += _character(token[0])
        else:
            found += [literal, literal[-1:], *(_examples(token[0]) if token["class"] else ())]
            literal = ""
    return list(dict.fromkeys(filter(None, [*found, literal, literal[-1:]])))


def _character(token: str) -> str:
    """Return the character that a literal or an escape in an expression stands for."""
    if len(token) > 2:
        return chr(int(token[2:], 16))
    return _NAMED_CHARACTERS.get(token[1], token[1]) if len(token) == 2 else token


def _examples(token: str) -> list[str]:
    """Return characters that a class matches, and some that it does not."""
    members = re.compile(token)
    own = map(_character, re.findall(r"\\[xuU][0-9a-fA-F]+|\\?[^\]\[^]", token))
    probes = dict.fromkeys([*own, *_PROBES])
    inside = [probe for probe in probes if members.fullmatch(probe)]
    outside = [probe for probe in probes if not members.fullmatch(probe)]
    return [*inside[:4], *outside[:2]]


class Recipe(NamedTuple):
    """The start of a text, the part that is repeated, and the end."""

    start: str
    repeated: str
    end: str

    def text(self, length: int) -> str:
        times = max(1, (length - len(self.start) - len(self.end)) // len(self.repeated))
        return f"{self.start}{self.repeated * times}{self.end}"


def recipes(parts: list[str], source: random.Random) -> Iterator[Recipe]:
    """Yield recipes without end: first each piece repeated, then combinations of pieces."""
    yield from (Recipe("", piece, "") for piece in parts)
    while True:
        yield random_recipe(parts, source)


def random_recipe(parts: list[str], source: random.Random) -> Recipe:
    """Repeat up to three pieces, perhaps after some that are neighbors in the expression."""
    repeated = "".join(source.choices(parts, k=source.choice((1, 1, 2, 2, 3))))
    first = source.randrange(len(parts))
    neighbors = "".join(parts[first : first + source.choice((1, 2, 3))])
    start = source.choice(("", neighbors, source.choice(parts)))
    return Recipe(start, repeated, source.choice(("", "", "\0", source.choice(parts))))


def mutated(recipe: Recipe, parts: list[str], source: random.Random) -> Recipe:
    """Return the recipe with a piece added to, or some text removed from, one of its fields."""
    field = source.choice(Recipe._fields)
    text = getattr(recipe, field)
    at = source.randint(0, len(text))
    if source.random() < 0.4:
        changed = text[:at] + text[at + source.choice((1, 2, 5)) :]
    else:
        changed = text[:at] + source.choice(parts) + text[at:]
    return recipe._replace(**{field: changed or text})
