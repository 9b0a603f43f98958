"""What makes a name that of a secret, and a value a secret rather than code, a gap or a word."""

import re
from functools import lru_cache
from typing import NamedTuple

MASK = "[masked]"
# What colours the text of a terminal, as it is or as escapes in another text.
COLOUR = r"(?:\x1b|\\{1,15}(?:[uU]001[bB]|x1[bB]|033|e))\[[0-9;]{0,12}[mKk]"
SPACE = r"(?:\s|\\{1,15}[rnt]){0,40}+"  # also as an escape


class Span(NamedTuple):
    """Where a secret value is in a text, without its name."""

    start: int
    end: int  # that of a slice
    quote: str = ""  # that the mask needs and the value has not, as it is a number in JSON

    @property
    def mask(self) -> str:
        return f"{self.quote}{MASK}{self.quote}"

    @property
    def cut(self) -> tuple[int, int, str]:
        """The start, the end, and the mask in its place."""
        return self.start, self.end, self.mask


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A name is cut into words at case and signs; what counts is how it ends.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NEUTRAL = _words(
    "value raw plain text old new current prev previous confirm confirmation again base prod dev "
    "test staging"
)
_PASSWORDS = ("password", "passwd", "passphrase", "passcode", "passwort", "kennwort")
_PASSWORD_WORDS = _words(
    "pwd pw pass psw dbpass userpass mypass ftppass smtppass adminpass rootpass mysqlpwd "
    "pgpass storepass keypass"
)
_ENDINGS = ("secret", "apikey", "token", "credential", "credentials", "authorization", "secretkey")
_WORDS = _words(
    "auth cookie cookies jwt bearer psk sessionid phpsessid jsessionid connectionstring"
)
_KEYS = _words(
    "api access secret private signing sign encryption encrypt auth master service account "
    "accountkey storage admin app application client consumer deploy license licence session "
    "shared preshared subscription webhook bot openai anthropic functions host webapp wep wpa"
)
# Tokens and secrets that are none: of paging, of parsing, of models of language.
_HARMLESS = _words(
    "page pagination continuation next sync resume cancel cancellation stop max min num no pad eos "
    "bos unk cls mask sep special per total input output prompt first last end start missing "
    "invalid wrong has is lex prefix suffix sub word image delimiter bad peek whitespace begin "
    "bypass forgot existing completion reasoning cached"
)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret: "apiKey", "DB_PASSWORD", "Set-Cookie"."""
    words = _words_of(name)
    if not words:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if _is_password(words):
        return before not in ("bypass", "forgot", "no", "has", "is")
    if last in ("hash", "enc", "encrypted", "crypt"):
        return _is_password(words[:-1])
    if last == "string":
        return before == "connection"
    if last in ("key", "keys"):
        return last == "key" and before in _KEYS
    if last in ("sig", "signature"):
        return (len(words) == 1 and last == "sig") or before in ("amz", "goog", "oauth")
    if last in _WORDS:
        return before not in _HARMLESS
    return last.endswith(_ENDINGS) and before not in _HARMLESS


def _is_password(words: list[str]) -> bool:
    """Whether the words of a name end in one for a password."""
    if not words:
        return False
    if words[-1] == "word" and words[-2:-1] == ["pass"]:
        return True
    return words[-1].endswith(_PASSWORDS) or words[-1] in _PASSWORD_WORDS


@lru_cache(maxsize=4096)
def is_password_name(name: str) -> bool:
    """Whether a field of this name holds a password, which may be any word at all."""
    return _is_password(_words_of(name))


def _words_of(name: str) -> list[str]:
    """The words of a name in small letters, without those at its end that tell nothing."""
    words = [word.lower() for word in _WORD.findall(name)]
    while words and (words[-1] in _NEUTRAL or words[-1].isdigit()):
        words.pop()
    return words


_LONGEST_GAP = 120  # what is longer than this is no placeholder
_GAP = re.compile(
    r"""(?ix)
    [*\#\w-]{0,12}\[[^\[\]]{0,60}\]            # [masked], *[REDACTED]
    | \\*<[^<>]*>                              # <your password>
    | \$\{[^{}]*\} | \$?\{\{[^{}]*\}\} | \{[^{}"':,]*\} | \$\(.*\) | \$\([a-z]+[ ].* | `.*`
    | (?:[^\w{}]{0,3}\{[a-z_][\w.]*\}){1,9}[^\w{}]{0,3}   # {user}:{password}
    | %\w+% | %\([\w.]+\)[sdr]? | (?:%[sdrvq@]\W?)+ | @\w+@
    | [*•.x_?~=\#-]{2,} | [x*]{2,}[\w-]{0,4} | \w{1,8}[*•]{3,}\w{0,8} | \w{1,8}\.\.\. | \W{1,2}
    | (?:none|null|nil|nul|undefined|nan|true|false|yes|no|on|off|n/a|na|empty|required|optional
      |redacted|masked|hidden|removed|omitted|string|str|bytes|text|char|int|integer|number|bool|boolean
      |object|any|unset|missing|invalid|expired|default|unknown|todo|tbd|placeholder|header|query|body
      |bearer|basic|cookies?)
    | (?:enter|insert|put|add|set|paste|type|replace|use|provide|change|need)
      [ _-](?:with[ _-])?(?:your|the|a|an|here|this|me)\b.{0,60}
    | (?:my|the|a|an|some|your)[ _-](?:super[ _-]?)?
      (?:secret|token|api|key|password|passwd|access|auth|own|real|actual|client)\b\D{0,40}
    | (?:my|the|a|an|some|your)_[a-z_]{0,40} | your[ _-]?[a-z]\D{0,50}
    | \w{0,30}_here | .{0,40}[ _-]goes[ _-]here
    """
)  # fmt: skip
_VARIABLE = re.compile(
    r"\$(?:env:)?(?:[A-Z][A-Z0-9_]*|[A-Za-z_]+[0-9]?[A-Za-z_]*)|\$\d"  # not "$ecret123"
)
_CONSTANT_VARIABLE = re.compile(r"\$[A-Z][A-Z0-9_]*")


def is_gap(value: str, quote: str = "") -> bool:
    """Whether a value only stands for one: "<password>", "${TOKEN}", "****", "null"."""
    if len(value) > _LONGEST_GAP:
        return False
    value = value.replace(MASK, "").strip()
    if not value or _GAP.fullmatch(value):
        return True
    variable = _CONSTANT_VARIABLE if quote == "'" else _VARIABLE
    return bool(variable.fullmatch(value))


_CODE = re.compile(
    r"""(?x)
    [A-Za-z_$][\w.$]*(?:::\w+)*\??[(\[].*                      # a call, an item
    | (?:[A-Za-z_$][\w$]*(?:\.|->|::|\?\.))+[A-Za-z_]\w*       # a member
    | [(\[{<|&].* | @[\w./~-]*[\w(]
    | (?:new|await|not|lambda|async|function|typeof|self|this|cls)\b.*
    | [*&]\w+ | ![A-Za-z]\w* | ![01]\b.* | [-=]>.* | [-+/*=]=? | [+-][A-Za-z]+
    | [\w.]+(?:\|\||&&|\?\?).*
    """
)
_MEMBERS = re.compile(r"\w+(?:\.\w+)+")
_DIGIT = re.compile(r"[0-9]")
_NUMBERED = re.compile(r"(?i)base(?:32|64)|sha[0-9]{1,3}|utf(?:8|16)|v[0-9]{1,2}")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_PART_OF_NAME = re.compile(r"(?i)pass|pwd|token|secret|key|cred|auth|cookie|user|login")
_RANDOM = re.compile(r"(?=.{0,200}?[0-9])(?=.{0,200}?[A-Za-z])", re.DOTALL)
_SYMBOL = re.compile(r"(?<=.)[@#$%^&*!~+=?](?=.)|[@#$%^&!~]")
_DIGITS = re.compile(r"[0-9.]+")
_CAPITAL_INSIDE = re.compile(r"[a-z][A-Z]")


def is_code(value: str) -> bool:
    """Whether an unquoted value reads as code: a call, an attribute, a container."""
    if len(value) > 2000:
        return False
    if not _CODE.fullmatch(value):
        return False
    # A random run with a dot in it is a token, not a member.
    random = len(_DIGIT.findall(value)) > 1 and _MEMBERS.fullmatch(value)
    return not (random and (len(value) > 40 or not _PART_OF_NAME.search(value)))


_JOINED_WORDS = re.compile(
    r"[_./:-]*+(?:[A-Za-z]++|[0-9]{1,5}+)(?:[_./:-]++(?:[A-Za-z]++|[0-9]{1,5}+))*+[_./:-]*+"
)
_TYPE = re.compile(r"(?:[A-Z][a-z]{2,}+){2,}+")


def is_label(value: str) -> bool:
    """Whether a value is words joined as in a name of code: "same-origin", "SimpleCookie"."""
    if len(value) > 60:
        return False
    joined = any(sign in value for sign in "_./:-") and _JOINED_WORDS.fullmatch(value)
    return bool(joined or _TYPE.fullmatch(value)) or value.startswith(("http://", "https://"))


def is_variable_name(value: str) -> bool:
    """Whether an unquoted value is the name of something that holds the secret."""
    if not (_IDENTIFIER.fullmatch(value) and _PART_OF_NAME.search(value)):
        return False
    digits = len(_DIGIT.findall(_NUMBERED.sub("", value)))
    return digits == 0 or (digits == 1 and not value[0].isupper())  # not "Passw0rd2026"


_REFERENCE = re.compile(r"(?:id|type|src|source|env|name)=.*|[a-z]{4,20}[0-9]{0,2}")
_STORES = ("arn:", "vault:", "op://", "ssm:", "secretsmanager:", "file:", "env:", "ref+")
_COLOUR_OR_LINK = re.compile(r"#(?:[0-9A-Fa-f]{3,4}){1,2}|https?://[^\s@?]*")
_PART_OF_PATH = re.compile(r"[A-Za-z]?[a-z]{0,24}[0-9]{0,4}")


def is_reference(name: str, value: str) -> bool:
    """Whether a value says where the secret is: a path, "id=npm", "credentials: include2"."""
    if is_password_name(name) or len(value) > 200:
        return False
    if value.startswith(_STORES) or _COLOUR_OR_LINK.fullmatch(value):
        return True
    if value.startswith(("~/", "./", "../")) or value.count("/") > 1:
        return all(_PART_OF_PATH.fullmatch(part) for part in re.split(r"[/._~-]", value))
    plural = name.lower().endswith("credentials")
    return bool(_REFERENCE.fullmatch(value)) and ("=" in value or plural)


def has_digit_and_letter(value: str) -> bool:
    return bool(_RANDOM.match(value))


def stands_out(value: str) -> bool:
    """Whether a value could not be a word of prose: digits among letters, or signs."""
    if _DIGITS.fullmatch(value):
        return len(value) >= 5
    return len(value) >= 4 and bool(_RANDOM.match(value) or _SYMBOL.search(value))


def is_mixed(value: str) -> bool:
    """Whether letters of both cases are mixed as in no word, or a digit is among them."""
    return bool(_RANDOM.match(value) or _CAPITAL_INSIDE.search(value))


_OPENERS = {")": "(", "]": "[", "}": "{"}


def without_end(value: str) -> str:
    """A value without what ends the sentence or the code that it is in."""
    value = value.rstrip(".,;:")
    while value and value[-1] in _OPENERS and _OPENERS[value[-1]] not in value:
        value = value[:-1].rstrip(".,;:")
    return value


class Place(NamedTuple):
    """Where a value is, and what stands around it."""

    name: str
    start: int  # of the name
    value: int  # where the value starts, with its quote if it has one
    sep: str  # the sign after the name; "is" in a sentence, "flag" for --name value
    spaced: bool  # blanks stand before the sign
    closed: str  # the quote that ends the name, with its backslashes, or ""
    is_broken: bool = False  # the value is on a line of its own


# Of a value in quotes: what is between two texts rather than in one, what reads as a sentence.
_JOINED = re.compile(r"\s*[+.,);%&|]+\s|\s+[+.%&|]|\s*\+\s*\w+\s*\+")
_SAID = re.compile(r"[A-Z][a-z']+(?: [A-Za-z][a-z']*+){2,}.{0,400}[.!?:]", re.DOTALL)
_SENTENCE = re.compile(r"[A-Z][a-z']*(?: [A-Za-z][a-z']*){2,}.{0,400}[a-z.!?:]", re.DOTALL)
_SNAKE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")


def is_quoted_secret(place: Place, value: str, quote: str) -> bool:
    """Whether a value in quotes, after the name of a secret, is one."""
    if is_gap(value, quote) or not value.strip():
        return False
    if quote == "`" and not (stands_out(value) and len(value) >= 6):
        return False
    if not place.closed and _JOINED.match(value):
        return False  # between two texts that are put together, not in one
    if place.sep in (",", "==", "===", "||", "??"):
        return (
            stands_out(value)
            and " " not in value
            and not is_label(value)
            and not is_secret_name(value)
            and not (place.is_broken and _SNAKE.fullmatch(value))  # a list of names
        )
    if place.name.lower() == "pass" and " " in value.strip():
        return False  # as in the messages of a check
    if is_password_name(place.name):
        return not (" " in value.strip() and place.sep == ":" and _SAID.fullmatch(value))
    if is_reference(place.name, value):
        return False
    if place.name == "token" and value.isalpha() and value.islower() and len(value) <= 12:
        return False  # of a parser
    if _CAPITAL_INSIDE.search(value) and is_secret_name(value) and not has_digit_and_letter(value):
        return False  # a name: "InvalidIdToken"
    if " " in value.strip():
        return stands_out(value) and not _SENTENCE.match(value)
    if len(value) < (3 if place.name.isupper() else 4) or is_label(value):
        return False
    return len(value) >= 8 or place.name.isupper() or stands_out(value) or is_mixed(value)
