"""Find and mask secrets (keys, tokens and passwords) in any text that an agent stores.

This package handles plain text and depends neither on Django nor on the rest of the project. Every
rule runs in linear time. JSON, even JSON inside JSON strings, stays valid when secrets are masked.
"""

from collections.abc import Iterable

from masking.columns import find_in_columns
from masking.command_lines import (
    find_command_arguments,
    find_name_value_pairs,
    find_statement_values,
)
from masking.json_values import fit_to_json, split_json
from masking.key_value_rows import find_in_table_rows, find_key_settings
from masking.known_contexts import find_in_contexts
from masking.literals import Lowercase
from masking.named_values import find_named_values
from masking.nested_objects import find_in_objects
from masking.prose import find_in_prose
from masking.quoting import is_json
from masking.readings import read_codes
from masking.token_formats import TOKEN_FINDERS
from masking.values import MASK, Span, is_secret_name

__all__ = [
    "MARGIN",
    "MASK",
    "Span",
    "find_secrets",
    "is_secret_name",
    "lowercase",
    "mask",
    "mask_start",
    "replace_ranges",
    "split_json",
]

MARGIN = 512  # characters to examine after a cut, to find secrets that the cut splits

_FINDERS = (
    find_named_values,
    find_name_value_pairs,
    find_statement_values,
    find_command_arguments,
    find_in_contexts,
    find_in_table_rows,
    find_in_columns,
    find_key_settings,
    find_in_objects,
    find_in_prose,
)


def find_secrets(text: str) -> list[Span]:
    """Return the spans of all secrets in the text, in order and without overlaps.

    In a text that is JSON, they are parts of strings, or numbers.
    """
    spans = sorted(_find_anywhere(text))
    return _merge(fit_to_json(text, spans) if spans and is_json(text) else spans)


def _find_anywhere(text: str) -> list[Span]:
    """Return the spans of the secrets in a text, also behind codes, in any order."""
    lower = Lowercase(lowercase(text))
    reading = read_codes(text, lower)
    if not reading:
        return _find(text, lower)
    spans = _find(reading.text, Lowercase(lowercase(reading.text)))
    for start, piece in reading.pieces():
        spans += [
            Span(start + at.start, start + at.end)
            for at in _find_tokens(piece, Lowercase(lowercase(piece)))
        ]
    return [reading.original(span, text) for span in spans]


def _find(text: str, lower: Lowercase) -> list[Span]:
    """Return the spans of the secrets in a text without codes, in any order."""
    spans: list[Span] = []
    for find in _FINDERS:
        spans.extend(find(text, lower))
    return spans + _find_tokens(text, lower)


def _find_tokens(text: str, lower: Lowercase) -> list[Span]:
    return [span for marker, find in TOKEN_FINDERS if marker in lower for span in find(text, lower)]


def mask(text: str) -> str:
    """Return the text with each secret masked, or the same string object if it has no secrets."""
    spans = find_secrets(text)
    return replace_ranges(text, (span.cut for span in spans)) if spans else text


def mask_start(text: str, length: int) -> str:
    """Return the first `length` characters with secrets masked, even a secret split by the cut.

    Only the first `length + MARGIN` characters of the text are examined.
    """
    spans = find_secrets(text[: length + MARGIN])
    return replace_ranges(text[:length], (span.cut for span in spans if span.start < length))


def replace_ranges(text: str, replacements: Iterable[tuple[int, int, str]]) -> str:
    """Replace parts of the text. `replacements` are (start, end, replacement) tuples, in order."""
    pieces, position = [], 0
    for start, end, replacement in replacements:
        pieces += [text[position:start], replacement]
        position = end
    return "".join([*pieces, text[position:]])


def lowercase(text: str) -> str:
    """Convert text to lowercase without changing its length."""
    return text.replace("\u0130", "i").lower()  # only U+0130 becomes two characters in lowercase


def _merge(spans: Iterable[Span]) -> list[Span]:
    """Merge the spans that overlap. They must be sorted."""
    merged: list[Span] = []
    for span in spans:
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = last._replace(end=max(last.end, span.end))
        elif span.end > span.start:
            merged.append(span)
    return merged
