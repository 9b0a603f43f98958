"""Find secrets by their context: after a prompt, before a pipe or in a function call."""

import re
from collections.abc import Iterator

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
_PAIR = rf"auth(?:[ ]?=[ ]?)?\({_TEXT},[ ]?{_IN_QUOTES}"
_CALL = rf"password\((?:(?<=set_password\()|(?<=setpassword\())[ ]?{_IN_QUOTES}[ ]?\)"
_SQLPLUS = r"sqlplus[ ](?:-\w{1,8}[ ]){0,3}[\w.]{1,64}+/(?P<bare>[^\s/@\"'\\]{1,128}+)@"
_DSN = r":(?P<bare>[^\s:@\"'\\/]{1,256}+)@tcp\("
_DIGEST = r"response=(?:\\{0,15}[\"'])(?P<bare>[0-9a-f]{16,128}+)"
# (literal that the text must contain, pattern, whether the value must stand out from prose)
_CONTEXTS = tuple(
    (marker, re.compile(pattern), must_stand_out)
    for marker, pattern, must_stand_out in (
        (" for ", _PROMPT, True),
        ("|", _PIPE, False),
        ("securestring", _POWERSHELL, False),
        ("auth", _PAIR, False),
        ("password(", _CALL, False),
        ("sqlplus", _SQLPLUS, False),
        ("response=", _DIGEST, False),
        ("@tcp(", _DSN, False),
    )
)


def find_in_contexts(text: str, lower: str) -> Iterator[Span]:
    """Yield secrets that can be recognized from the text around them."""
    for marker, pattern, must_stand_out in _CONTEXTS:
        if marker in lower:
            for match in pattern.finditer(lower):
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
