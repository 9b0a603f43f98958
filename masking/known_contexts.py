"""Find secrets by their context: after a prompt, before a pipe or in a function call."""

import re
from collections.abc import Iterator

from masking.literals import Lowercase, find_matches, literals
from masking.values import MASK, Span, is_placeholder, is_secret_name, stands_out

_IN_QUOTES = r"(?P<open>\\{0,15}[\"'])(?P<quoted>[^\"'\\\n]{4,1024}+)(?P=open)"
_BARE = r"(?P<bare>[^\s\"'\\`;|&<>]{1,512}+)"
_TEXT = r"\\{0,15}[\"'][^\"'\\\n]{0,100}+\\{0,15}[\"']"
_READERS = (
    r"(?:sudo[ ](?:-\w{1,8}[ ]){0,3}-\w{0,4}s|su\b|(?:docker|podman|helm registry|buildah)[ ]login"
    r"|gh[ ]auth|passwd|cryptsetup|smbpasswd|kinit)"
)
_PROMPTED = "|".join(
    f"(?<={name} for )" for name in ("password", "passphrase", "passwd", "token", "secret", "key")
)
# The patterns are lowercase and start with literal text, which makes searching much faster.
_PROMPT = (
    rf"[ ]for[ ](?:{_PROMPTED})[^\s:]{{1,100}}+(?:[ ][^\s:]{{1,40}}+){{0,2}}"
    rf"(?::(?=//)[^\s:]{{1,200}}+)?:[ ]{{1,8}}{_BARE}"
)
_PIPE = (
    r"echo[ ](?:-\w{1,3}[ ])?"
    rf"(?:{_IN_QUOTES}|{_BARE})[ ]?\|[ ]?{_READERS}"
)
_POWERSHELL = rf"convertto-securestring[ ](?:-string[ ])?(?:{_IN_QUOTES}|(?![-$(]){_BARE})"
# Functions whose last quoted argument is a secret, and how many arguments may come before it.
_VALUE = rf"(?:[\w.:]{{1,30}}\()?(?:[bf](?=[\"']))?{_IN_QUOTES}"
_BEFORE = rf"(?:(?:{_TEXT}|[^\s\"'\\(),]{{1,60}}+),\s?)"
_CALLS = (
    ("auth(", 1), ("auth=(", 1), ("login(", 1), ("user(", 2), ("credentials(", 1),
    ("credential(", 1), ("connection(", 2), ("mysqli(", 2), ("connect(", 3), ("pdo(", 2),
    ("authentication(", 1), ("jwt.sign(", 1), ("jwt.encode(", 1), ("jwt.decode(", 1),
    ("createhmac(", 1), ("pgp_sym_decrypt(", 1), ("pgp_sym_encrypt(", 1), ("fernet(", 0),
    ("hmac.new(", 0), ("secretstr(", 0), ("passwordprotection(", 0), ("begin(", 1),
    ("connect(", 2), ("secretstring(", 0), ("_password(", 0), ("setpassword(", 0),
)  # fmt: skip
_CURLOPT = rf"curlopt_\w{{0,12}}(?:pwd|password|bearer)[ ]?,[ ]?{_IN_QUOTES}"
_SQLPLUS = r"sqlplus[ ](?:-\w{1,8}[ ]){0,3}[\w.]{1,64}+/(?P<bare>[^\s/@\"'\\]{1,128}+)@"
_DSN_MARKER = "@tcp("
_DSN = r":(?P<bare>[^\s:@\"'\\/]{1,256}+)@tcp\("
_DIGEST = r"response=(?:\\{0,15}[\"'])(?P<bare>[0-9a-f]{16,128}+)"
# (literal that starts the pattern (or ends _DSN), pattern, whether the value must stand out)
_CONTEXTS = tuple(
    (marker, re.compile(pattern), must_stand_out)
    for marker, pattern, must_stand_out in (
        (" for ", _PROMPT, True),
        ("echo ", _PIPE, False),
        ("convertto-securestring", _POWERSHELL, False),
        *(
            (call, rf"{re.escape(call)}{_BEFORE}{{{count}}}{_VALUE}(?=[ ]?[),.])", count > 0)
            for call, count in _CALLS
        ),
        ("curlopt_", _CURLOPT, False),
        ("sqlplus", _SQLPLUS, False),
        ("response=", _DIGEST, False),
        (_DSN_MARKER, _DSN, False),
    )
)
_BY_MARKER: dict[str, list[tuple[re.Pattern[str], bool]]] = {}
for _marker, _pattern, _must_stand_out in _CONTEXTS:
    _BY_MARKER.setdefault(_marker, []).append((_pattern, _must_stand_out))
literals(*_BY_MARKER)


def find_in_contexts(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield secrets that can be recognized from the text around them."""
    for marker in lower.found.keys() & _BY_MARKER.keys():
        starts = lower.starts(marker)
        if marker == _DSN_MARKER:
            starts = [lower.rfind(":", max(0, start - 257), start) for start in starts]
        for pattern, must_stand_out in _BY_MARKER[marker]:
            for match in find_matches(pattern, lower, starts):
                start, end = match.span("quoted" if match.groupdict().get("quoted") else "bare")
                value = text[start:end]
                if (
                    is_placeholder(value)
                    or is_secret_name(value)
                    or value.startswith("$")
                    or MASK in value
                ):
                    continue
                if stands_out(value) or not must_stand_out:
                    yield Span(start, end)
