"""Secrets in places of their own: after a prompt, before a pipe, in a call or so."""

import re
from collections.abc import Iterator

from tasks.masking.values import Span, is_gap, is_secret_name, stands_out

_IN_QUOTES = r"(?P<open>\\{0,15}[\"'])(?P<quoted>[^\"'\\\n]{4,1024}+)(?P=open)"
_BARE = r"(?P<bare>[^\s\"'\\`;|&<>]{1,512}+)"
_TEXT = r"\\{0,15}[\"'][^\"'\\\n]{0,100}+\\{0,15}[\"']"
_READERS = (
    r"(?:sudo[ ](?:-\w{1,8}[ ]){0,3}-\w{0,4}S|su\b|(?:docker|podman|helm registry|buildah)[ ]login"
    r"|gh[ ]auth|passwd|cryptsetup|gpg|smbpasswd|kinit|openssl|wrangler|vercel)"
)
_PROMPT = (
    r"(?i:password|passphrase|passwd|token|secret|api key)[ ]for[ ]"
    r"[^\s:]{1,100}+(?:[ ][^\s:]{1,40}+){0,2}(?::(?=//)[^\s:]{1,200}+)?:[ ]{1,8}" + _BARE
)
_PIPE = (
    r"(?:echo|printf)[ ](?:-\w{1,3}[ ])?(?:\\{0,15}[\"']%s(?:\\{1,15}n)?\\{0,15}[\"'][ ])?"
    rf"(?:{_IN_QUOTES}|{_BARE})[ ]?\|[ ]?{_READERS}"
)
_POWERSHELL = rf"(?i:ConvertTo-SecureString)[ ](?:-String[ ])?(?:{_IN_QUOTES}|(?![-$(]){_BARE})"
_PAIR = rf"\b(?:auth[ ]?=[ ]?|HTTPBasicAuth|BasicAuth)\({_TEXT},[ ]?{_IN_QUOTES}"
_SQLPLUS = r"sqlplus[ ](?:-\w{1,8}[ ]){0,3}[\w.]{1,64}+/(?P<bare>[^\s/@\"'\\]{1,128}+)@"
_AWS = rf"configure[ ]set[ ]\S{{0,40}}(?:secret|token)\w{{0,40}}[ ]{_BARE}"
_NPM = rf"config[ ]set[ ]\S{{0,200}}_(?:authToken|auth|password)[ =]{_BARE}"
_ENCODED = (
    r"%2[fF]%2[fF][\w.-]{0,64}+%3[aA]"
    r"(?P<bare>(?:[\w.!~*-]|%(?!40|2[fF])[0-9A-F]{2}){1,256}+)%40"
)
# What must be in the (lower-cased) text, the place, and whether its value must stand out there.
_PLACES = tuple(
    (sign, re.compile(pattern), must_stand_out)
    for sign, pattern, must_stand_out in (
        (" for ", _PROMPT, True),
        ("|", _PIPE, False),
        ("securestring", _POWERSHELL, False),
        ("auth", _PAIR, False),
        ("password(", rf"(?i:set_?password)\([ ]?{_IN_QUOTES}[ ]?\)", False),
        ("sqlplus", _SQLPLUS, False),
        ("aws configure", _AWS, False),
        ("npm config", _NPM, False),
        ("%2f%2f", _ENCODED, False),
    )
)


def by_place(text: str, lower: str) -> Iterator[Span]:
    """The secrets that a known place shows."""
    for sign, pattern, must_stand_out in _PLACES:
        if sign in lower:
            for found in pattern.finditer(text):
                part = "quoted" if found.groupdict().get("quoted") else "bare"
                value = found[part]
                if is_gap(value) or is_secret_name(value) or value.startswith("$"):
                    continue
                if stands_out(value) or not must_stand_out:
                    yield Span(*found.span(part), "place")
