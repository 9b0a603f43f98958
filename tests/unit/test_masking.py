"""Tests what masking replaces and what it leaves alone, with sample text and random text."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking import MARGIN, MASK, find_secrets, is_secret_name, mask, mask_start
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


def _between(text):
    before, _, rest = text.partition("«")
    secret, _, after = rest.partition("»")
    return before, secret, after


@pytest.mark.parametrize("text", [*NAMED, *NAMED_IN_LINES])
def test_a_named_secret_is_masked_and_nothing_else(text):
    before, secret, after = _between(text)
    assert mask(before + secret + after) == before + MASK + after


@pytest.mark.parametrize("text", NAMED_IN_JSON)
@pytest.mark.parametrize("depth", range(4))
def test_a_named_secret_is_masked_in_json_at_every_depth(text, depth):
    before, secret, after = _between(text)
    shown = before + secret + after
    for _ in range(depth):
        shown = json.dumps({"arguments": shown})
    shown = mask(shown)
    for _ in range(depth):
        shown = json.loads(shown)["arguments"]
    assert shown == before + MASK + after


@pytest.mark.parametrize("text", NAMED_TWICE)
@pytest.mark.parametrize("depth", range(4))
def test_each_of_more_secrets_is_masked_in_json_at_every_depth(text, depth):
    shown, expected = re.sub("[«»]", "", text), re.sub("«[^»]*»", MASK, text)
    for _ in range(depth):
        shown = json.dumps({"arguments": shown})
    shown = mask(shown)
    for _ in range(depth):
        shown = json.loads(shown)["arguments"]
    assert shown == expected


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("around", ["{}", "see {} there", "line\n{}\n", '{{"a": "x\\n{}\\n"}}'])
def test_a_token_is_masked_wherever_it_stands(token, around):
    assert mask(around.format(token)) == around.format(MASK)


@pytest.mark.parametrize("text", [*CLEAN, *CLEAN_IN_LINES])
def test_what_is_no_secret_is_left_alone(text):
    assert mask(text) is text


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_the_name_of_a_secret_is_known(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", [*OTHER_NAMES, "", "-", "_", "İ", "\ud800"])
def test_another_name_is_not_that_of_a_secret(name):
    assert not is_secret_name(name)


_KEY_LINES = [alnum(64), alnum(63) + "/", alnum(30) + "=="]
_HEAD, _FOOT = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
_PGP_HEAD = "-----BEGIN PGP PRIVATE KEY BLOCK-----"
_PGP_FOOT = "-----END PGP PRIVATE KEY BLOCK-----"


@pytest.mark.parametrize("kind", ["RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "", "DSA "])
@pytest.mark.parametrize("end_of_line", ["\n", "\r\n", "\\n", "\\\\n"])
def test_the_body_of_a_private_key_is_masked(kind, end_of_line):
    head, foot = f"-----BEGIN {kind}PRIVATE KEY-----", f"-----END {kind}PRIVATE KEY-----"
    key = end_of_line.join([head, *_KEY_LINES, foot])
    assert mask(f"a {key} b") == f"a {head}{end_of_line}{MASK}{end_of_line}{foot} b"


def test_a_private_key_without_an_end_is_masked_to_the_end_of_its_lines():
    text = mask("\n".join([_HEAD, *_KEY_LINES[:2], "That was it."]))
    assert not any(line in text for line in _KEY_LINES)
    assert text.endswith("\nThat was it.")


def test_a_private_key_with_headers_or_in_lines_of_code_is_masked():
    armored = "\n".join([_PGP_HEAD, "Version: 1", "", *_KEY_LINES, "=aB3d", _PGP_FOOT])
    coded = "[" + ",\n".join(json.dumps(line) for line in (_PGP_HEAD, *_KEY_LINES, _PGP_FOOT)) + "]"
    for text in (armored, coded):
        assert not any(line in mask(text) for line in _KEY_LINES)
    assert len(json.loads(mask(coded))) == 5


_MARKS = [
    "-", "+", "> ", "| ", "# ", " * ", "$ ", "   1 | ", "   1→", "   1\t", "12:", "<br>", "    ",
    "\x1b[32m+\x1b[m\x1b[32m", "\x1b[01;31m\x1b[K",
]  # fmt: skip


@pytest.mark.parametrize("mark", _MARKS)
@pytest.mark.parametrize("has_head", [True, False])
@pytest.mark.parametrize("depth", range(4))
def test_a_private_key_with_marks_before_its_lines_is_masked(mark, has_head, depth):
    lines = [*([_HEAD] if has_head else []), *_KEY_LINES, _FOOT]
    text = "\n".join(mark + line for line in lines) + "\n"
    for _ in range(depth):
        text = json.dumps([text])
    shown = mask(text)
    for _ in range(depth):
        [shown] = json.loads(shown)
    assert not any(line[1:] in shown for line in _KEY_LINES)
    assert shown.endswith(f"{_FOOT}\n")


@pytest.mark.parametrize("escape", ["\\u001b", "\\x1b", "\\033", "\\e", "\\\\x1b"])
def test_a_private_key_in_escaped_colors_is_masked(escape):
    mark = f"{escape}[32m+{escape}[m{escape}[32m"
    text = mask("\\n".join(f"{mark}{line}{escape}[m" for line in (_HEAD, *_KEY_LINES, _FOOT)))
    assert not any(line in text for line in _KEY_LINES)


def test_what_is_no_key_before_the_end_of_one_is_left_alone():
    for text in (f"so {_FOOT}", f"{alnum(64)}\nand then {_FOOT}", f"[{'1' * 40}, true, '{_FOOT}'"):
        assert mask(text) == text


def test_marks_between_the_lines_of_a_key_stay():
    text = "<br>".join([_HEAD, *_KEY_LINES, _FOOT])
    assert mask(text) == "<br>".join([_HEAD, MASK, MASK, MASK, _FOOT])


def test_a_key_in_base64_is_masked():
    text = "LS0tLS1CRUdJTi" + "BSU0EgUFJJVkFURSBLRVktLS0tLQp" + alnum(200)
    assert mask(f"key.pem: {text}==") == f"key.pem: {MASK}"
    public = "LS0tLS1CRUdJTi" + "BDRVJUSUZJQ0FURS0tLS0tCk" + alnum(200)
    assert mask(f"certificate-data: {public}") == f"certificate-data: {public}"


@pytest.mark.parametrize("length", [25_600, 40_000])
def test_a_long_password_or_key_is_masked_whole(length):
    assert mask(f'password="{alnum(length)}"') == f'password="{MASK}"'
    lines = "\n".join([alnum(64)] * (length // 64))
    key = f"{_PGP_HEAD}\nVersion: GnuPG v2\n\n{lines}\n=aB3d\n{_PGP_FOOT}"
    assert alnum(64) not in mask(key)


@pytest.mark.parametrize("cut", range(60))
def test_a_secret_that_a_cut_goes_through_is_masked_whole(cut):
    before, token = "the key: ", "gh" + "p_" + alnum(36)
    text = before + token + " and more of this text" * 100
    expected = text[:cut] if cut <= len(before) else before + MASK
    if cut > len(before) + len(token):
        expected += text[len(before) + len(token) : cut]
    assert mask_start(text, cut) == expected
    assert mask_start(text[: cut + MARGIN], cut) == expected


@pytest.mark.parametrize(
    "text",
    ['{"password": "' + "ab1 " * 2000, "password='" + "ab1 " * 2000, "Cookie: a=" + "b1" * 4000],
)
def test_a_long_secret_without_an_end_is_masked_at_a_cut(text):
    assert mask_start(text, 4000).endswith(MASK)


def test_a_long_value_is_masked_whole():
    value = "ab1 " * 5000
    assert mask(f'{{"secret": "{value}x", "b": 1}}') == f'{{"secret": "{MASK}", "b": 1}}'
    assert mask("password=" + "a1" * 5000 + " b") == f"password={MASK} b"


_PIECES = st.sampled_from([*PIECES, MASK, *TOKENS[:12], alnum(40)])
TEXTS = st.lists(_PIECES, max_size=25).map("".join) | st.text(max_size=60)


@given(TEXTS)
def test_spans_are_in_order_inside_the_text_and_never_empty(text):
    position = 0
    for span in find_secrets(text):
        assert position <= span.start < span.end <= len(text)
        position = span.end


@given(TEXTS)
def test_masking_what_is_masked_changes_nothing(text):
    once = mask(text)
    assert mask(once) == once


@given(TEXTS)
def test_nothing_but_the_spans_is_changed(text):
    pieces, position = [], 0
    for span in find_secrets(text):
        pieces += [text[position : span.start], MASK]
        position = span.end
    assert mask(text) == "".join([*pieces, text[position:]])


_VALUES = st.recursive(
    TEXTS | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["password", "a", "x_token"]) | TEXTS, inner, max_size=3)
    ),
    max_leaves=5,
)


@given(_VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_json_stays_json_at_every_depth(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    json.loads(mask(text))
    text = json.dumps({"arguments": text}, ensure_ascii=ascii_only)
    json.loads(mask(text))
    text = json.dumps([text, "password: x"], ensure_ascii=ascii_only)
    json.loads(mask(text))


@given(TEXTS, st.sampled_from(TOKENS[12:]), TEXTS)
def test_a_token_is_not_in_what_is_masked(before, token, after):
    assert token not in mask(f"{before} {token} {after}")


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), st.integers(0, 2))
def test_a_password_in_json_is_not_in_what_is_masked(password, depth):
    secret = f"{password}Z9!z"
    value: object = {"password": secret}
    for _ in range(depth):
        value = {"arguments": json.dumps(value)}
    read = json.loads(mask(json.dumps(value)))
    for _ in range(depth):
        read = json.loads(read["arguments"])
    assert read == {"password": MASK}


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_ends(piece):
    masked = mask(piece * (200_000 // len(piece)))
    assert mask(masked) == masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"password": 12345}', '{"password": "[masked]"}'),
        ('"{\\"passcode\\":98765,\\"n\\":1}"', '"{\\"passcode\\":\\"[masked]\\",\\"n\\":1}"'),
        ('{"secret":123456789,"password":0}', '{"secret":"[masked]","password":0}'),
        ("{'password': 55555}", "{'password': '[masked]'}"),
    ],
)
def test_masking_a_number_in_json_makes_it_a_text(text: str, expected: str):
    assert mask(text) == expected
    assert mask(expected) == expected
