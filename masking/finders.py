"""Finds secrets by all rules. Importing this compiles their patterns."""

from masking.columns import find_in_columns
from masking.command_lines import (
    find_command_arguments,
    find_name_value_pairs,
    find_statement_values,
)
from masking.key_value_rows import find_in_table_rows, find_key_settings
from masking.known_contexts import find_in_contexts
from masking.literals import Lowercase, lowercase
from masking.named_values import find_named_values
from masking.nested_objects import find_in_objects
from masking.printed_values import find_printed_values
from masking.prose import find_in_prose
from masking.readings import read_codes
from masking.token_formats import TOKEN_FINDERS
from masking.values import Span

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
    find_printed_values,
)


def find_anywhere(text: str) -> list[Span]:
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
