"""Recognize secret names, and tell secret values from code, placeholders and ordinary words."""

import re
from functools import lru_cache
from typing import NamedTuple

MASK = "[masked]"
SPACE = r"(?:\s|\\{1,15}[rnt]){0,40}+"  # raw or escaped whitespace


class Span(NamedTuple):
    """The position of a secret value in the text, not including its name."""

    start: int
    end: int  # exclusive
    quote: str = ""  # put around the mask of a JSON number to keep the JSON valid

    @property
    def mask(self) -> str:
        return f"{self.quote}{MASK}{self.quote}"

    @property
    def cut(self) -> tuple[int, int, str]:
        """The start, end and replacement to pass to `replace_ranges`."""
        return self.start, self.end, self.mask


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names are split at case changes and punctuation. Their last words show if a value is secret.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NEUTRAL = _words(
    "value raw plain text old new current prev previous confirm confirmation again base prod dev "
    "test staging alt neu"
)
_PASSWORDS = ("password", "passwd", "passphrase", "passcode", "passwort", "kennwort")
_PASSWORD_WORDS = _words(
    "pwd pw pass psw dbpass userpass mypass ftppass smtppass adminpass rootpass mysqlpwd "
    "pgpass storepass keypass sshpass psk"
)
_ENDINGS = (
    "secret",
    "apikey",
    "authkey",
    "token",
    "credential",
    "credentials",
    "authorization",
    "secretkey",
)
_WORDS = _words("auth cookie cookies jwt bearer sessionid phpsessid jsessionid connectionstring")
_KEYS = _words(
    "api access secret private signing sign encryption encrypt auth master service account "
    "accountkey storage admin app application client consumer deploy license licence session "
    "shared preshared subscription webhook bot openai anthropic functions host webapp wep wpa"
)
# Words before "token" or "secret" that show it is harmless, as in "page token".
_HARMLESS = _words(
    "page pagination continuation next sync resume cancel cancellation stop max min num no pad eos "
    "bos unk cls mask sep special per total input output prompt first last end start missing "
    "invalid wrong has is lex prefix suffix sub word image delimiter bad peek whitespace begin "
    "bypass forgot existing completion reasoning cached"
)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a field's name implies a secret, as "apiKey" and "DB_PASSWORD" do."""
    words = _words_of(name)
    if not words:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if _is_password(words):
        return before not in ("bypass", "forgot", "no", "has", "is")
    if last in ("hash", "enc", "encrypted", "crypt"):
        return _is_password(words[:-1])
    if last == "string":
        return before in ("connection", "secret")
    if last == "data":
        return before == "key"
    if last in ("key", "keys"):
        return last == "key" and before in _KEYS
    if last in ("sig", "signature"):
        return (len(words) == 1 and last == "sig") or before in ("amz", "goog", "oauth")
    if last in _WORDS:
        return before not in _HARMLESS
    return last.endswith(_ENDINGS) and before not in _HARMLESS and last != "tiktoken"


def _is_password(words: list[str]) -> bool:
    """Return whether the words of a name end with one that means password."""
    if not words:
        return False
    if words[-1] == "word" and words[-2:-1] == ["pass"]:
        return True
    return words[-1].endswith(_PASSWORDS) or words[-1] in _PASSWORD_WORDS


@lru_cache(maxsize=4096)
def is_password_name(name: str) -> bool:
    """Return whether a field with this name holds a password, which may be an ordinary word."""
    return _is_password(_words_of(name))


def _words_of(name: str) -> list[str]:
    """Split a name into lowercase words, dropping trailing words such as "value" or "old"."""
    words = [word.lower() for word in _WORD.findall(name)]
    while words and (words[-1] in _NEUTRAL or words[-1].isdigit()):
        words.pop()
    return words


_LONGEST_PLACEHOLDER = 120  # characters
_PLACEHOLDER = re.compile(
    r"""(?ix)
    [*\#\w-]{0,12}\[[^\[\]]{0,60}\]            # [masked], *[REDACTED]
    | \\*<[^<>]*>                              # <your password>
    | \$\{[^{}]*\} | \$?\{\{[^{}]*\}\} | \{[^{}"':,]*\} | \$\(.*\) | \$\([a-z]+[ ].* | `.*`
    | (?:[^\w{}]{0,3}\{[a-z_][\w.]*\}){1,9}[^\w{}]{0,3}   # {user}:{password}
    | %\w+% | %\([\w.]+\)[sdr]? | (?:%[sdrvq@]\W?)+ | @\w+@
    | [*•.x_?~=\#-]{2,} | [x*]{2,}[\w-]{0,4} | \w{1,8}[*•]{3,}\w{0,8}
    | [\w-]{1,20}(?:\.{2,}|…) | \W{1,2} | [\w-]{1,40}[-_]x{4,}[\w-]{0,8}
    | [\w-]{1,16}[-_]your[-_][a-z_-]{0,40}
    | (?:none|null|nil|nul|undefined|nan|true|false|enabled|disabled|yes|no|on|off|n/a|na|empty
      |required|optional
      |redacted|masked|hidden|removed|omitted|string|str|bytes|text|char|int|integer|number|bool|boolean
      |object|any|unset|missing|invalid|expired|default|unknown|todo|tbd|placeholder|header|query|body
      |bearer|basic|cookies?)
    | (?:enter|insert|put|add|set|paste|type|replace|use|provide|change|need)
      [ _-](?:with[ _-])?(?:your|the|a|an|here|this|me)\b.{0,60}
    | (?:my|the|a|an|some|your)[ _-](?:super[ _-]?)?
      (?:secret|token|api|key|password|passwd|access|auth|own|real|actual|client)\b\D{0,40}
    | (?:my|the|a|an|some|your)_[a-z_]{0,40} | your[ _-]?[a-z]\D{0,50}
    | (?-i:[\w/+-]{1,80}EXAMPLE(?:KEY)?)
    | \w{0,30}_here | .{0,40}[ _-]goes[ _-]here
    """
)  # fmt: skip
_VARIABLE = re.compile(
    r"\$(?:env:)?(?:[A-Z][A-Z0-9_]*|[A-Za-z_]+[0-9]?[A-Za-z_]*)|\$\d"  # does not match "$ecret123"
)
_CONSTANT_VARIABLE = re.compile(r"\$[A-Z][A-Z0-9_]*")


def is_placeholder(value: str, quote: str = "") -> bool:
    """Return whether a value is a placeholder such as "<password>", "${TOKEN}" or "null"."""
    if len(value) > _LONGEST_PLACEHOLDER:
        return False
    value = value.replace(MASK, "").strip()
    if not value or _PLACEHOLDER.fullmatch(value):
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
    | [\w.]+(?:\|\||&&|\?\?).* | \$[a-z_]\w*-        # "$request->password", cut at ">"
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
    """Return whether an unquoted value looks like code: a call, an attribute or a container."""
    if len(value) > 2000:
        return False
    if not _CODE.fullmatch(value):
        return False
    # A random string with a dot in it is a token, not an attribute.
    random = len(_DIGIT.findall(value)) > 1 and _MEMBERS.fullmatch(value)
    return not (random and (len(value) > 40 or not _PART_OF_NAME.search(value)))


_JOINED_WORDS = re.compile(
    r"[_./:-]*+(?:[A-Za-z]++|[0-9]{1,5}+)(?:[_./:-]++(?:[A-Za-z]++|[0-9]{1,5}+))*+[_./:-]*+"
)
_PASSPHRASE = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)+-[0-9]{2,4}")  # such as "orange-Falcon-95"
_TYPE = re.compile(r"(?:[A-Z][a-z]{2,}+){2,}+")


def is_identifier(value: str) -> bool:
    """Return whether a value is an identifier made of words, such as "SimpleCookie"."""
    if len(value) > 60:
        return False
    if _PASSPHRASE.fullmatch(value) and value != value.lower() and value != value.upper():
        return False
    joined = any(marker in value for marker in "_./:-") and _JOINED_WORDS.fullmatch(value)
    return bool(joined or _TYPE.fullmatch(value)) or value.startswith(("http://", "https://"))


def is_variable_name(value: str) -> bool:
    """Return whether an unquoted value looks like the name of a variable that holds a secret."""
    if not (_IDENTIFIER.fullmatch(value) and _PART_OF_NAME.search(value)):
        return False
    digits = len(_DIGIT.findall(_NUMBERED.sub("", value)))
    return digits == 0 or (digits == 1 and not value[0].isupper())  # excludes "Passw0rd2026"


_REFERENCE = re.compile(r"(?:id|type|src|source|env|name)=.*|[a-z]{4,20}[0-9]{0,2}")
_STORES = ("arn:", "vault:", "op://", "ssm:", "secretsmanager:", "file:", "env:", "ref+")
# Colors, links and keys that services call publishable.
_PUBLIC = re.compile(
    r"#(?:[0-9A-Fa-f]{3,4}){1,2}|https?://[^\s@?]*"
    r"|pk\.eyJ.*|pk_(?:live|test)_.*|sb_publishable_.*|phc_.*"
)
_PART_OF_PATH = re.compile(r"[A-Za-z]?[a-z]{0,24}[0-9]{0,4}")


def is_reference(name: str, value: str) -> bool:
    """Return whether a value only refers to a secret, as a path or "id=npm" does."""
    if is_password_name(name) or len(value) > 200:
        return False
    if value.startswith(_STORES) or _PUBLIC.fullmatch(value):
        return True
    if value.startswith(("~/", "./", "../")) or value.count("/") > 1:
        return all(_PART_OF_PATH.fullmatch(part) for part in re.split(r"[/._~-]", value))
    plural = name.lower().endswith("credentials")
    return bool(_REFERENCE.fullmatch(value)) and ("=" in value or plural)


def has_digit_and_letter(value: str) -> bool:
    return bool(_RANDOM.match(value))


def stands_out(value: str) -> bool:
    """Return whether a value's digits or symbols show that it is not an ordinary word."""
    if _DIGITS.fullmatch(value):
        return len(value) >= 5
    return len(value) >= 4 and bool(_RANDOM.match(value) or _SYMBOL.search(value))


def is_mixed(value: str) -> bool:
    """Return whether a value has a capital letter inside a word, or both digits and letters."""
    return bool(_RANDOM.match(value) or _CAPITAL_INSIDE.search(value))


_OPENERS = {")": "(", "]": "[", "}": "{"}


def strip_end(value: str) -> str:
    """Strip trailing punctuation and brackets that belong to the surrounding sentence or code."""
    value = value.rstrip(".,;:")
    while value and value[-1] in _OPENERS and _OPENERS[value[-1]] not in value:
        value = value[:-1].rstrip(".,;:")
    return value


class Field(NamedTuple):
    """A name that may be followed by a secret value, and the syntax between the two."""

    name: str
    start: int  # where the name starts
    value_start: int  # where the value starts, with its opening quote if it has one
    sep: str  # the separator, such as "=" or "is", or "flag" after a flag such as --token
    is_spaced: bool  # whether spaces come before the separator
    quote: str  # the quote after the name, with the backslashes that escape it; "" if there is none
    on_next_line: bool = False  # whether the value is on a later line than the name


# Quoted text that is not a secret: code between two string literals, and sentences.
_JOINED = re.compile(
    r"\s*[+.,);%&|]+\s|\s+[+.%&|]|\s*\+\s*\w+\s*\+(?!\w.{0,200}[^+\s]\Z)", re.DOTALL
)
_CONNECTION = re.compile(r"(?i)://|;[ ]?(?:password|pwd|accountkey|sharedaccesskey)[ ]?=")
_OBJECT = re.compile(r"\s*\{\s*\\{0,15}[\"']\w")
_PROSE = re.compile(r"[A-Z][a-z']++(?: [A-Za-z][a-z']*+){2,}+.{0,400}[.!?:]", re.DOTALL)
_SENTENCE = re.compile(
    r"[A-Z][a-z']*+ [A-Za-z][a-z']*+ [A-Za-z](?:'| [A-Z])*+.{0,400}?[a-z.!?:]", re.DOTALL
)
_SNAKE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")


def is_quoted_secret(field: Field, value: str, quote: str) -> bool:
    """Return whether a quoted value that follows a secret name is a secret."""
    if is_placeholder(value, quote) or not value.strip():
        return False
    if quote == "`" and not (stands_out(value) and len(value) >= 6):
        return False
    if field.sep == "flag" and _OBJECT.match(value):
        return False  # its fields are looked at
    if field.name.lower().endswith("string") and _CONNECTION.search(value):
        return False  # its password is masked
    if not field.quote and _JOINED.match(value):
        return False  # code between two concatenated string literals
    if field.sep in (",", "==", "===", "||", "??", "("):
        return (
            stands_out(value)
            and (field.sep != "(" or len(value) >= 8)
            and " " not in value
            and not is_identifier(value)
            and not is_secret_name(value)
            and not (field.on_next_line and _SNAKE.fullmatch(value))  # an item in a list of names
        )
    if field.name.lower() == "pass" and " " in value.strip():
        return False  # a test result, as in "PASS: all tests are green"
    if is_password_name(field.name):
        if value.istitle() and is_password_name(value):
            return False  # a label
        return not (" " in value.strip() and field.sep in (":", "=>") and _PROSE.fullmatch(value))
    if is_reference(field.name, value):
        return False
    if field.name == "token" and value.isalpha() and value.islower() and len(value) <= 12:
        return False  # a type of token in a parser, such as "number"
    if _CAPITAL_INSIDE.search(value) and is_secret_name(value) and not has_digit_and_letter(value):
        return False  # the name of a class or error, such as "InvalidIdToken"
    if " " in value.strip():
        return stands_out(value) and not _SENTENCE.match(value)
    if len(value) < (3 if field.name.isupper() else 4) or is_identifier(value):
        return False
    return len(value) >= 8 or field.name.isupper() or stands_out(value) or is_mixed(value)
