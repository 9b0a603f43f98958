"""Find and mask secrets (keys, tokens and passwords) in any text that an agent stores.

This package handles plain text and depends neither on Django nor on the rest of the project. Every
rule runs in linear time. JSON, even JSON inside JSON strings, stays valid when secrets are masked.
"""

from collections.abc import Iterable

from masking.json_values import fit_to_json, split_json
from masking.literals import lowercase
from masking.quoting import is_json
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


def find_secrets(text: str) -> list[Span]:
    """Return the spans of all secrets in the text, in order and without overlaps.

    In a text that is JSON, they are parts of strings, or numbers.
    """
    # Compiling all patterns takes a quarter of a second, which many commands need not wait for.
    from masking.finders import find_anywhere  # noqa: PLC0415 - see above

    spans = sorted(find_anywhere(text))
    return _merge(fit_to_json(text, spans) if spans and is_json(text) else spans)


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
