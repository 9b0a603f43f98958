"""Tests what masking replaces and what it leaves alone, with sample text and random text."""

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking import MARGIN, MASK, find_secrets, is_secret_name, lowercase, mask, mask_start
from masking.literals import Lowercase, find_matches
from masking.name_patterns import NAME_STEMS, STEMS
from tests.support.masking_cases import (
    CLEAN,
    CLEAN_IN_LINES,
    HOSTILE,
    NAMED,
    NAMED_IN_JSON,
    NAMED_IN_LINES,
    NAMED_TWICE,
    OTHER_NAMES,
    PIECES,
    SECRET_NAMES,
    TOKENS,
    alnum,
)
from tests.support.tables import failures


def split_marked(text):
    before, _, rest = text.partition("«")
    secret, _, after = rest.partition("»")
    return before, secret, after


def mask_nested(text, depth):
    """Mask the text inside JSON of this depth, and return what the JSON then holds."""
    for _ in range(depth):
        text = json.dumps({"arguments": text})
    text = mask(text)
    for _ in range(depth):
        text = json.loads(text)["arguments"]
    return text


def test_named_secret_is_masked_exactly():
    texts = map(split_marked, [*NAMED, *NAMED_IN_LINES])
    table = [(before + secret + after, before + MASK + after) for before, secret, after in texts]
    assert failures(mask, table) == []


@pytest.mark.parametrize("depth", range(4))
def test_named_secrets_are_masked_in_nested_json(depth):
    table = [
        ((re.sub("[«»]", "", text), depth), re.sub("«[^»]*»", MASK, text))
        for text in (*NAMED_IN_JSON, *NAMED_TWICE)
    ]
    assert failures(mask_nested, table) == []


@pytest.mark.parametrize("template", ["{}", "see {} there", "line\n{}\n", '{{"a": "x\\n{}\\n"}}'])
def test_token_is_masked_in_any_context(template):
    table = [(template.format(token), template.format(MASK)) for token in TOKENS]
    assert failures(mask, table) == []


@pytest.mark.parametrize("code", ["\x1b[1;31m", "\x1b[m\x1b[K", "\\u001b[0m", "\\x1b[K"])
def test_token_with_a_color_code_inside_is_masked(code):
    table = [
        (f"see {code}{token[:at]}{code}{token[at:]}{code}.", f"see {code}{MASK}{code}.")
        for token in TOKENS[::7]
        for at in (1, 3, 12, -2)
    ]
    assert failures(mask, table) == []


def test_token_next_to_a_colored_word_is_masked():
    table = [(f"a\x1b[35m{token}\x1b[mb", f"a\x1b[35m{MASK}\x1b[mb") for token in TOKENS[::7]]
    assert failures(mask, table) == []


@pytest.mark.parametrize(
    "text", ['password="{}"', "'api_key': '{}',", "TOKEN={}\nA=b", "a?b&pwd={}&c=d"]
)
@pytest.mark.parametrize("encode", [escape, quote, lambda text: quote(quote(text))])
def test_named_secret_in_encoded_text_is_masked_exactly(text, encode):
    secret = "Tr0ub4dor-3x"
    encoded = encode(text.format(secret))
    assert mask(encoded) == encoded.replace(secret, MASK)


def test_formats_are_not_read_as_percent_encoding():
    for text in ("token: %3d items", 'print("%20s" % password)', "100%22", "50% 3Dprinted"):
        assert mask(text) is text


def test_other_text_is_unchanged():
    assert [text for text in (*CLEAN, *CLEAN_IN_LINES) if mask(text) is not text] == []


def test_is_secret_name_accepts_secret_names():
    assert [name for name in SECRET_NAMES if not is_secret_name(name)] == []


def test_is_secret_name_rejects_other_names():
    others = [*OTHER_NAMES, "", "-", "_", "İ", "\ud800"]
    assert [name for name in others if is_secret_name(name)] == []


def test_every_secret_name_contains_a_stem():
    without = [n for n in SECRET_NAMES if not any(stem in n.lower() for stem in NAME_STEMS)]
    assert without == []  # rules only look for names where a stem is


_KEY_LINES = [alnum(64), alnum(63) + "/", alnum(30) + "=="]
_HEADER, _FOOTER = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
_PGP_HEADER = "-----BEGIN PGP PRIVATE KEY BLOCK-----"
_PGP_FOOTER = "-----END PGP PRIVATE KEY BLOCK-----"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\\n", "\\\\n"])
def test_private_key_body_is_masked(newline):
    table = []
    for kind in ("RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "", "DSA "):
        header, footer = f"-----BEGIN {kind}PRIVATE KEY-----", f"-----END {kind}PRIVATE KEY-----"
        key = newline.join([header, *_KEY_LINES, footer])
        table.append((f"a {key} b", f"a {header}{newline}{MASK}{newline}{footer} b"))
    assert failures(mask, table) == []


def test_private_key_without_a_footer_is_masked():
    text = mask("\n".join([_HEADER, *_KEY_LINES[:2], "That was it."]))
    assert not any(line in text for line in _KEY_LINES)
    assert text.endswith("\nThat was it.")


def test_private_key_with_headers_or_in_code_is_masked():
    armored = "\n".join([_PGP_HEADER, "Version: 1", "", *_KEY_LINES, "=aB3d", _PGP_FOOTER])
    code = (
        "[" + ",\n".join(json.dumps(line) for line in (_PGP_HEADER, *_KEY_LINES, _PGP_FOOTER)) + "]"
    )
    for text in (armored, code):
        assert not any(line in mask(text) for line in _KEY_LINES)
    assert len(json.loads(mask(code))) == 5


_LINE_PREFIXES = [
    "-", "+", "> ", "| ", "# ", " * ", "$ ", "   1 | ", "   1→", "   1\t", "12:", "<br>", "    ",
    "\x1b[32m+\x1b[m\x1b[32m", "\x1b[01;31m\x1b[K",
]  # fmt: skip


@pytest.mark.parametrize("has_header", [True, False])
@pytest.mark.parametrize("depth", range(4))
def test_private_key_with_line_prefixes_is_masked(has_header, depth):
    lines = [*([_HEADER] if has_header else []), *_KEY_LINES, _FOOTER]
    for prefix in _LINE_PREFIXES:
        text = "\n".join(prefix + line for line in lines) + "\n"
        masked = mask_nested(text, depth)
        assert not any(line[1:] in masked for line in _KEY_LINES), prefix
        assert masked.endswith(f"{_FOOTER}\n"), prefix


@pytest.mark.parametrize("escape", ["\\u001b", "\\x1b", "\\033", "\\e", "\\\\x1b"])
def test_private_key_with_escaped_color_codes_is_masked(escape):
    mark = f"{escape}[32m+{escape}[m{escape}[32m"
    text = mask("\\n".join(f"{mark}{line}{escape}[m" for line in (_HEADER, *_KEY_LINES, _FOOTER)))
    assert not any(line in text for line in _KEY_LINES)


def test_text_before_a_key_footer_is_unchanged():
    for text in (
        f"so {_FOOTER}",
        f"{alnum(64)}\nand then {_FOOTER}",
        f"[{'1' * 40}, true, '{_FOOTER}'",
    ):
        assert mask(text) == text


def test_separators_between_key_lines_are_preserved():
    text = "<br>".join([_HEADER, *_KEY_LINES, _FOOTER])
    assert mask(text) == "<br>".join([_HEADER, MASK, MASK, MASK, _FOOTER])


def test_base64_encoded_key_is_masked():
    text = "LS0tLS1CRUdJTi" + "BSU0EgUFJJVkFURSBLRVktLS0tLQp" + alnum(200)
    assert mask(f"key.pem: {text}==") == f"key.pem: {MASK}"
    certificate = "LS0tLS1CRUdJTi" + "BDRVJUSUZJQ0FURS0tLS0tCk" + alnum(200)
    assert mask(f"certificate-data: {certificate}") == f"certificate-data: {certificate}"


@pytest.mark.parametrize("length", [25_600, 40_000])
def test_long_password_or_key_is_fully_masked(length):
    assert mask(f'password="{alnum(length)}"') == f'password="{MASK}"'
    lines = "\n".join([alnum(64)] * (length // 64))
    key = f"{_PGP_HEADER}\nVersion: GnuPG v2\n\n{lines}\n=aB3d\n{_PGP_FOOTER}"
    assert alnum(64) not in mask(key)


def test_mask_start_fully_masks_a_secret_at_the_cut():
    before, token = "the key: ", "gh" + "p_" + alnum(36)
    text = before + token + " and more of this text" * 100
    for cut in range(60):
        expected = text[:cut] if cut <= len(before) else before + MASK
        if cut > len(before) + len(token):
            expected += text[len(before) + len(token) : cut]
        assert mask_start(text, cut) == expected, cut
        assert mask_start(text[: cut + MARGIN], cut) == expected, cut


@pytest.mark.parametrize(
    "text",
    ['{"password": "' + "ab1 " * 2000, "password='" + "ab1 " * 2000, "Cookie: a=" + "b1" * 4000],
)
def test_mask_start_masks_a_long_unterminated_secret(text):
    assert mask_start(text, 4000).endswith(MASK)


def test_long_value_is_fully_masked():
    value = "ab1 " * 5000
    assert mask(f'{{"secret": "{value}x", "b": 1}}') == f'{{"secret": "{MASK}", "b": 1}}'
    assert mask("password=" + "a1" * 5000 + " b") == f"password={MASK} b"


_PIECES = st.sampled_from([*PIECES, MASK, *TOKENS[:12], alnum(40)])
TEXTS = st.lists(_PIECES, max_size=25).map("".join) | st.text(max_size=60)


@given(TEXTS)
def test_spans_are_ordered_within_bounds_and_not_empty(text):
    position = 0
    for span in find_secrets(text):
        assert position <= span.start < span.end <= len(text)
        position = span.end


@given(TEXTS)
def test_mask_is_idempotent(text):
    masked = mask(text)
    assert mask(masked) == masked


@given(TEXTS)
def test_mask_changes_only_the_spans(text):
    pieces, position = [], 0
    for span in find_secrets(text):
        pieces += [text[position : span.start], MASK]
        position = span.end
    assert mask(text) == "".join([*pieces, text[position:]])


@given(st.text("abc.", max_size=40))
def test_find_matches_yields_the_same_matches_as_finditer(text):
    pattern = re.compile(r"(?:ab|abc|bca|c)(?<!\.c)b?\.?")
    expected = [match.span() for match in pattern.finditer(text)]
    starts = [start for start in range(len(text)) if text[start:].startswith(("ab", "bca", "c"))]

    assert [match.span() for match in find_matches(pattern, text, starts)] == expected


@given(TEXTS.map(lowercase))
def test_lowercase_text_finds_all_literals(text):
    for literal in (*STEMS, "ghp_", "copy"):
        expected = [start for start in range(len(text)) if text.startswith(literal, start)]
        assert Lowercase(text).starts(literal) == expected


_VALUES = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["password", "a", "x_token"]) | TEXTS, inner, max_size=3)
    ),
    max_leaves=5,
)


@given(_VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_masked_json_is_valid_json(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    json.loads(mask(text))
    text = json.dumps({"arguments": text}, ensure_ascii=ascii_only)
    json.loads(mask(text))
    text = json.dumps([text, "password: x"], ensure_ascii=ascii_only)
    json.loads(mask(text))


class Pairs(list):
    """A JSON object as its (name, value) pairs, which may share a name once they are masked."""


def has_same_shape(value: Any, masked: Any) -> bool:
    """Return whether only strings and numbers differ, and only those with a mask in them."""
    if isinstance(value, Pairs):
        return (
            isinstance(masked, Pairs)
            and len(value) == len(masked)
            and all(
                old == new or MASK in new for (old, _), (new, _) in zip(value, masked, strict=True)
            )
            and has_same_shape([child for _, child in value], [child for _, child in masked])
        )
    if isinstance(value, list):
        same = isinstance(masked, list) and len(value) == len(masked)
        return same and all(map(has_same_shape, value, masked))
    if isinstance(value, bool | None):
        return value is masked
    return value == masked or (isinstance(masked, str) and MASK in masked)


@given(_VALUES, st.booleans(), st.sampled_from([None, 2]), st.integers(0, 2))
def test_masked_json_has_the_same_shape(value, ascii_only, indent, depth):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    for _ in range(depth):
        text = json.dumps({"arguments": text, "after": [True, 5]}, ensure_ascii=ascii_only)
    before, after = (json.loads(each, object_pairs_hook=Pairs) for each in (text, mask(text)))
    assert has_same_shape(before, after)


_WORDS = st.text("ab é\\n\U0001f600", max_size=9) | st.sampled_from(["hunter2", "Zq9!xx12", "a: b"])
_PLAIN_VALUES = st.recursive(
    _WORDS | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "rows", "password", "é"]), inner, max_size=4)
    ),
)


def names_of_masked(value: Any, masked: Any, name: str = "") -> Iterator[str]:
    """Yield the names of the values that differ, or for an item of a list, the list's name."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from names_of_masked(child, masked[key], key)
    elif isinstance(value, list):
        for child, other in zip(value, masked, strict=True):
            yield from names_of_masked(child, other, name)
    elif value != masked:
        yield name


@given(_PLAIN_VALUES)
def test_only_values_with_secret_names_change_in_json(value):
    masked = json.loads(mask(json.dumps(value)))
    assert set(names_of_masked(value, masked)) <= {"password"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"password":true},5]', '[{"password":true},5]'),
        ('[{"token":12345678},5]', '[{"token":"[masked]"},5]'),
        ('{"a":[{"password":83412977},true]}', '{"a":[{"password":"[masked]"},true]}'),
        ('{"password":null,"a":"b"}]', '{"password":null,"a":"b"}]'),
        ('see {"password":false},5] there', 'see {"password":false},5] there'),
        ('{"a":"password=\'x1y2z3","b":[2]}', '{"a":"password=\'[masked]","b":[2]}'),
    ],
)
@pytest.mark.parametrize("depth", range(3))
def test_only_values_of_json_are_masked(text: str, expected: str, depth: int):
    for _ in range(depth):
        text, expected = (json.dumps({"arguments": each}) for each in (text, expected))
    assert mask(text) == expected


@given(TEXTS, st.sampled_from(TOKENS[12:]), TEXTS)
def test_masked_text_does_not_contain_the_token(before, token, after):
    assert token not in mask(f"{before} {token} {after}")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), st.integers(0, 2))
def test_password_in_nested_json_is_masked(password, depth):
    secret = f"{password}Z9!z"
    value: object = {"password": secret}
    for _ in range(depth):
        value = {"arguments": json.dumps(value)}
    masked = json.loads(mask(json.dumps(value)))
    for _ in range(depth):
        masked = json.loads(masked["arguments"])
    assert masked == {"password": MASK}


@pytest.mark.parametrize("piece", HOSTILE)
def test_mask_terminates_on_hostile_text(piece):
    text = piece * (100_000 // len(piece))
    masked = mask(text)
    assert masked is text or mask(masked) == masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"password": 12345}', '{"password": "[masked]"}'),
        ('"{\\"passcode\\":98765,\\"n\\":1}"', '"{\\"passcode\\":\\"[masked]\\",\\"n\\":1}"'),
        ('{"secret":123456789,"password":0}', '{"secret":"[masked]","password":0}'),
        ("{'password': 55555}", "{'password': '[masked]'}"),
    ],
)
def test_masked_number_in_json_becomes_a_string(text: str, expected: str):
    assert mask(text) == expected
    assert mask(expected) == expected
