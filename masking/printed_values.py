"""Find secrets that commands print, such as `openssl rand`, and those listed below a label."""

import re
from collections.abc import Iterator
from itertools import islice

from masking.literals import Lowercase, literals
from masking.values import SPACE, Span, is_code, is_placeholder, is_secret_name, stands_out

_MOST_LINES = 20  # printed by one command
_LONGEST = 300  # characters of a command after its name
# Commands whose output is a secret.
_PRINTERS = literals(
    "openssl rand", "pwgen", "makepasswd", "xkcdpass", "diceware", "wg genkey", "wg genpsk",
    "consul keygen", "--gen-random", "/dev/urandom", "pass show ", "pass generate", "bw get ",
    "bw unlock --raw", "op read ", "op item get ", "lpass show", "secret-tool lookup",
    "keyring get ", "find-generic-password", "find-internet-password", "keepassxc-cli show",
    "keepassxc-cli generate", "get-login-password", "get-session-token", "print-access-token",
    "print-identity-token", "auth token", "whoami -t", "whoami --show-token", "-field=", "-field ",
    "vault print token", "get-secret-value", "get-parameter", "versions access",
    "keyvault secret show", "get-access-token", "sas ", "generate-sas", "create token ",
    "token create", "rails secret", "rake secret", "gen.secret", "generate --show",
    "secrets get ", "chamber read", "initial-password", "mkpasswd", "join-token ", "rclone reveal",
)  # fmt: skip
# Commands whose output is a secret if a word of the command has a secret name.
_READERS = literals(
    "printenv ", "config:get ", "output -raw ", "echo $", "echo \"$", "cat ", "base64 -d",
    "base64 --decode", "jq -r ", "credential get", "kubectl get secret",
)  # fmt: skip
# Functions that return a random secret, if they are called on a command line.
_FUNCTIONS = literals(
    "token_hex(", "token_urlsafe(", "randombytes(", "random_bytes(", "securerandom",
    "get_random_secret_key(", "generate_key(", "generate_password(",
)  # fmt: skip
_COMMANDS = frozenset((*_PRINTERS, *_READERS, *_FUNCTIONS))
_ONE_LINER = re.compile(r"(?:^|[\s\"'])-[cer][ ]|>>> ")
_LINE_END = re.compile(r"\r?\n|(?:\\{1,15}r)?\\{1,15}n")
_COMMAND_END = re.compile(rf"{_LINE_END.pattern}|(?<!2)>|&&|[^\\]\\{{0,15}}\"[ ]?[,}}\]]")
_OUTPUT = re.compile(
    rf"\\{{0,15}}\"(?:output|content|text|stdout|result){SPACE}"
    rf"\\{{0,15}}\"{SPACE}:{SPACE}\\{{0,15}}\""
)
_NEXT_LINE = re.compile(rf"[ ]{{0,8}}(?:{_LINE_END.pattern})")
_FAR = 400  # characters between a command and its output in JSON
WORD_LINE = re.compile(
    r"[ ]{0,8}+(?:[0-9]{1,2}[.)][ ]+|[-*•][ ])?+\\{0,15}[\"']?+(?P<word>[^\s\"'`<>|\\]{6,1024}+)"
    r"(?=[ ]{0,8}+(?:[\r\n\"']|\\|\Z))"
)
_GROUPS = re.compile(r"[0-9]{4,8}(?:-[0-9]{4,8}){1,9}")
PHRASE = re.compile(
    r"[a-z]{3,12}(?:-[a-z]{3,12}){2,9}(?:-?[0-9]{1,4})?|[a-z]{3,12}-[a-z]{3,12}-[0-9]{2,4}"
)
_NO_SECRET = re.compile(
    r"[~./-].*[\w/](?:\.\w{1,5})?|[$#\[({].*|\w+://.*|[A-Za-z_][\w.-]*[=:].+|[\w./-]+\.[a-z]{1,4}|\w+:"
)
_NAME = re.compile(r"[A-Za-z][\w-]{2,64}+")
_KEY_FILE = re.compile(
    r"(?:master|secret|private|token|psk|auth)[\w-]{0,20}\.key|/secrets/|node-token"
)


def find_printed_values(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield the words on the lines below a command that prints secrets."""
    if not lower.has(_COMMANDS):
        return
    done = 0
    for start in lower.starts(*(lower.found.keys() & _COMMANDS)):
        if start < done:
            continue
        ending = _COMMAND_END.search(text, start, start + _LONGEST)
        if not ending:
            done = start + _LONGEST // 2  # a longer command is not examined at each of its words
            continue
        if ending[0] in (">", "&&") or not _prints(lower, start, ending.start() + 1):
            continue
        done = ending.end()
        if ending[0][-1] in ",}]":
            output = _OUTPUT.search(text, done, done + _FAR)
            position = output.end() if output else None
        else:
            position = done
        if position is not None:
            yield from islice(word_lines(text, position), _MOST_LINES)


def _prints(lower: Lowercase, start: int, end: int) -> bool:
    """Return whether the command that starts here prints a secret."""
    if lower.startswith(_PRINTERS, start):
        return True
    if lower.startswith(_FUNCTIONS, start):
        return bool(_ONE_LINER.search(lower[max(0, start - 80) : start]))
    since = max(lower.rfind("\n", max(0, start - 80), start) + 1, start - 80, 0)
    command = lower[since:end]
    return bool(_KEY_FILE.search(command)) or any(
        is_secret_name(name[0]) for name in _NAME.finditer(command)
    )


def word_lines(text: str, position: int) -> Iterator[Span]:
    """Yield the secrets on the consecutive lines with only one word, from a position on."""
    while line := WORD_LINE.match(text, position):
        if not is_alone_secret(line["word"]):
            return
        yield Span(*line.span("word"))
        ending = _NEXT_LINE.match(text, line.end())
        if not ending:
            return
        position = ending.end()


def is_alone_secret(word: str) -> bool:
    """Return whether a word where a secret is expected looks like one."""
    if is_placeholder(word) or (_NO_SECRET.fullmatch(word) and not word.endswith("=")):
        return False
    if is_code(word) and not word[-1].isalnum():
        return False
    return stands_out(word) or bool(PHRASE.fullmatch(word) or _GROUPS.fullmatch(word))
