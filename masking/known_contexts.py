"""Find secrets by their context: after a prompt, before a pipe or in a function call."""

import re
from collections.abc import Iterator

from masking.key_value_rows import PARTS
from masking.literals import Lowercase, find_matches, literals
from masking.values import (
    MASK,
    Span,
    has_digit_and_letter,
    is_identifier,
    is_placeholder,
    is_secret_name,
    stands_out,
)

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
_UUID = r"(?P<bare>[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"
_SECRET_ID = rf"secret_id\\{{0,15}}[\"']?(?:[ ]{{0,30}}[:=])?[ ]{{0,30}}\\{{0,15}}[\"']?{_UUID}"
_AWS_PAIR = (
    r"(?:akia|asia)[a-z0-9]{16}[^\n\w][^\n]{0,80}?"
    r"(?<![\w+/=-])(?P<bare>[a-z0-9+/]{40})(?![\w+/=-])"
)
_NUMBERED_KEY = r"(?:[\s\"',:|\\]|permissions|full|value){1,60}+(?P<bare>[a-z0-9+/]{40,512}+={0,2})"
_LINES = r"(?:\r?\n|\\{1,15}n)(?P<bare>(?:[a-z0-9+/=]{8,80}+(?:\r?\n|\\{1,15}n)){1,80}+)"
_DEFAULT = (
    r"\\{0,15}\"(?P<name>[\w-]{2,64}+)\\{0,15}\"[ ]\{[^{}]{0,400}?"
    rf"default[ ]{{0,20}}=[ ]{{0,4}}{_IN_QUOTES}"
)
_QUERY = r"(?P<bare>[\w.~/+-]{16,1024}+={0,2})"
_PARAMETERS = (
    "?key=",
    "&key=",
    "?code=",
    "&code=",
    "appid=",
    "?sid=",
    "&sid=",
    "&hash=",
    "ticket=",
)
_LONG_PARAMETERS = ("samlresponse=", "samlrequest=", "assertion=", "_session=", "session=")
_ANY, _STANDS_OUT, _RANDOM = range(3)  # what the value must look like
# (literal that starts the pattern (or ends _DSN), pattern, what the value must look like)
_CONTEXTS = tuple(
    (marker, re.compile(pattern), look)
    for marker, pattern, look in (
        (" for ", _PROMPT, _STANDS_OUT),
        ("echo ", _PIPE, _ANY),
        ("convertto-securestring", _POWERSHELL, _ANY),
        *(
            (
                call,
                rf"{re.escape(call)}{_BEFORE}{{{count}}}{_VALUE}(?=[ ]?[),.])",
                _STANDS_OUT if count else _ANY,
            )
            for call, count in _CALLS
        ),
        ("curlopt_", _CURLOPT, _ANY),
        ("sqlplus", _SQLPLUS, _ANY),
        ("response=", _DIGEST, _ANY),
        (_DSN_MARKER, _DSN, _ANY),
        ("secret_id", _SECRET_ID, _ANY),
        ('variable "', "variable " + _DEFAULT, _ANY),
        ('variable \\"', "variable " + _DEFAULT, _ANY),
        ("private-lines:", r"private-lines:[ ]\d{1,3}" + _LINES, _ANY),
        ("begin openvpn static key", r"begin openvpn static key v\d-----" + _LINES, _ANY),
        ("password is generated for ", rf"password is generated for \S{{1,100}}: {_BARE}", _ANY),
        ("akia", _AWS_PAIR, _RANDOM),
        ("asia", _AWS_PAIR, _RANDOM),
        ("key1", "key1" + _NUMBERED_KEY, _RANDOM),
        ("key2", "key2" + _NUMBERED_KEY, _RANDOM),
        *(
            (f"{kind} key ", rf"{kind} key \d{{1,2}}[^:\n]{{0,20}}:[ ]{{1,8}}{_BARE}", _RANDOM)
            for kind in ("unseal", "recovery")
        ),
        *(
            (f": {kind} ", rf": {kind}[ ]{{1,8}}{_IN_QUOTES}", _ANY)
            for kind in ("psk", "eap", "xauth")
        ),
        ("key content", rf"key content[ ]{{0,20}}:[ ]{_BARE}", _ANY),
        *(
            (f";{name}={{", rf";{name}=\{{(?P<bare>[^{{}}\s;\"']{{4,128}}+)\}}", _ANY)
            for name in ("password", "pwd")
        ),
        (
            "send ",
            r"send[ ](?:--[ ])?\\{0,15}\"(?!at[+&])(?P<bare>[^\s\"\\]{6,128}+)\\{1,15}[rn]",
            _STANDS_OUT,
        ),
        ("sendline(", r"sendline\([\"'](?P<bare>[^\s\"'\\]{6,128}+)[\"']\)", _STANDS_OUT),
        *((name, re.escape(name) + _QUERY, _RANDOM) for name in _PARAMETERS),
        *(
            (name, re.escape(name) + r"\\{0,15}[\"']?(?P<bare>[\w.~/+-]{40,4096}+={0,2})", _RANDOM)
            for name in _LONG_PARAMETERS
        ),
    )
)
_BY_MARKER: dict[str, list[tuple[re.Pattern[str], int]]] = {}
for _marker, _pattern, _look in _CONTEXTS:
    _BY_MARKER.setdefault(_marker, []).append((_pattern, _look))
literals(*_BY_MARKER)


_KEY_TYPES = literals('"kty', "'kty")
_OBJECT_END = re.compile(r"[{}]")
_KEY_PART = re.compile(
    r"[\"'](?:k|d|p|q|dp|dq|qi)\\{0,15}[\"']:[ ]?\\{0,15}[\"'](?P<bare>[\w-]{16,1024}+)"
)


def _find_in_web_keys(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield the private parts of JSON Web Keys."""
    done = 0
    for start in lower.starts(*_KEY_TYPES):
        if start >= done:
            since = max(done, start - 2000, lower.rfind("{", max(0, start - 2000), start))
            ending = _OBJECT_END.search(text, start, start + 6000)
            done = ending.start() if ending else min(len(text), start + 6000)
            for match in _KEY_PART.finditer(text, since, done):
                yield Span(*match.span("bare"))


def find_in_contexts(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield secrets that can be recognized from the text around them."""
    yield from _find_in_web_keys(text, lower)
    for marker in lower.found.keys() & _BY_MARKER.keys():
        starts = lower.starts(marker)
        if marker == _DSN_MARKER:
            starts = [lower.rfind(":", max(0, start - 257), start) for start in starts]
        for pattern, look in _BY_MARKER[marker]:
            for match in find_matches(pattern, lower, starts):
                start, end = match.span("quoted" if match.groupdict().get("quoted") else "bare")
                value = text[start:end]
                name = match.groupdict().get("name")
                if name and not is_secret_name(name):
                    continue
                if (
                    is_placeholder(value)
                    or (look != _RANDOM and is_secret_name(value))
                    or value.startswith("$")
                    or MASK in value
                ):
                    continue
                if _looks_like(value, look):
                    yield Span(start, end)


def _looks_like(value: str, look: int) -> bool:
    """Return whether a value looks as random as it must."""
    if look == _RANDOM:
        return has_digit_and_letter(value) and not (is_identifier(value) or PARTS.fullmatch(value))
    return look == _ANY or stands_out(value)
