"""Find and mask secrets in text: keys, tokens and passwords in anything an agent stores.

Text in, text out: nothing here depends on Django, on pages or on rows. Every rule takes time linear
in the length of the text. Masking a secret in JSON, even in JSON within JSON, keeps it valid.
"""

from collections.abc import Iterable

from masking.command_lines import (
    find_command_arguments,
    find_name_value_pairs,
    find_statement_values,
)
from masking.key_value_rows import find_in_table_rows, find_key_settings
from masking.known_contexts import find_in_contexts
from masking.named_values import find_named_values
from masking.nested_objects import find_in_objects
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
]

MARGIN = 512  # characters needed beyond a cut to tell whether it goes through a secret

_FINDERS = (
    find_named_values,
    find_name_value_pairs,
    find_statement_values,
    find_command_arguments,
    find_in_contexts,
    find_in_table_rows,
    find_key_settings,
    find_in_objects,
)


def find_secrets(text: str) -> list[Span]:
    """Return the spans of all secrets in a text, in order and without overlaps."""
    lower = lowercase(text)
    spans: list[Span] = []
    for find in _FINDERS:
        spans.extend(find(text, lower))
    for marker, find_tokens in TOKEN_FINDERS:
        if marker in lower:
            spans.extend(find_tokens(text))
    return _merge(spans)


def mask(text: str) -> str:
    """Replace each secret with a mask; return the same object if there is none."""
    spans = find_secrets(text)
    return replace_ranges(text, (span.cut for span in spans)) if spans else text


def mask_start(text: str, length: int) -> str:
    """Return the first `length` characters, masked; a secret across the cut is masked whole.

    The text need not be longer than `length + MARGIN`.
    """
    spans = find_secrets(text[: length + MARGIN])
    return replace_ranges(text[:length], (span.cut for span in spans if span.start < length))


def replace_ranges(text: str, replacements: Iterable[tuple[int, int, str]]) -> str:
    """Replace ranges of a text, given in order as (start, end, replacement)."""
    pieces, position = [], 0
    for start, end, replacement in replacements:
        pieces += [text[position:start], replacement]
        position = end
    return "".join([*pieces, text[position:]])


def lowercase(text: str) -> str:
    """Lowercase a text without changing its length."""
    return text.replace("\u0130", "i").lower()  # the one character that would become two


def _merge(spans: list[Span]) -> list[Span]:
    """Sort spans and merge those that overlap."""
    spans.sort()
    merged: list[Span] = []
    for span in spans:
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = last._replace(end=max(last.end, span.end))
        elif span.end > span.start:
            merged.append(span)
    return merged
