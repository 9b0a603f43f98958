"""Find secrets in sentences, such as "Use X as the password" or "the token for staging (X)"."""

import re
from collections.abc import Iterator
from itertools import pairwise

from masking.literals import Lowercase, literals
from masking.values import (
    MASK,
    Span,
    has_digit_and_letter,
    is_code,
    is_identifier,
    is_placeholder,
    is_secret_name,
    stands_out,
    strip_end,
)

_NOUNS = literals(
    "password", "passwort", "passwd", "passphrase", "passcode", "token", "secret", "credential",
    "api key", "api-key", "access key", "private key", "encryption key", "license key",
    "master key", "recovery code", "contrase", "mot de passe", "пароль", "密码",
)  # fmt: skip
_NEAR = 100  # characters to search after or before a noun
# The end of a noun in a sentence, unlike a name in code such as "token=", "password_field" or JSON.
_NOUN_END = re.compile(
    r"s?(?:(?:ñ|\\{1,15}u00f1)a)?(?![\"'][ ]?:)(?=[\s,)\"'`*(]|:\s|\uff1a|\\{1,15}uff1a|\.\s)"
)
_END = re.compile(r"[\n={}\[\];]|\\n|[.!?][ ]")
_WORD = re.compile(r"(?P<open>[\"'`(«“]?)(?P<word>[^\s\"'`<>|\\«»“”\uff1a]{4,512}+)")
_LINK = re.compile(
    r"[\s,:*\uff1a]*+(?:(?:is|was|to|as|be|now|set|changed|reset|has|been|est|es|ist|lautet)[\s:]++){0,4}"
)
_LABEL = re.compile(
    r"[^\n\\]{0,60}:[*_`]{0,2}(?:\r?\n|(?:\\r)?\\n){1,3}[ ]{0,8}"
    r"(?P<word>[^\s\"'`<>|\\]{6,512}+)(?=[ ]*(?:[\r\n\\]|\Z))"
)
_AS = re.compile(
    r"(?<![^\s\"'`(«“])(?P<word>[^\s\"'`<>|«»“”]{4,128}+)(?P<close>[\"'`)»”]?)"
    r"[ ]as[ ](?:the|my|your|its|a|an|their)[ ](?:\w{1,20}[ ]){0,2}\Z"
)
_PAIR = re.compile(r"[\s:`\"'(][\w.@+-]{2,40}+(?:[ ]?/[ ]?|:)(?P<word>[^\s\"'`<>|/]{4,128}+)")
_SYMBOL = re.compile(r"[!@#$%^&*~+]")
# Versions, times, words with a number, hashes, addresses, file names, paths and code.
_PLAIN = re.compile(
    r"(?i)v?[0-9]+(?:[.:-][0-9]+)+[\w.+:-]*|[0-9]+[a-z]{1,3}|(?-i:[a-z]+[0-9]{1,2})|[0-9a-f-]{7,}"
    r"|[\w.+-]+@[\w.-]+|[a-z_-]+[0-9]{0,3}(?:\.[a-z]\w{0,5})+(?::\d+)?|[^/\\=(){}\[\]]*[/\\=(){}\[\]].*"
)


def find_in_prose(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield the secrets in sentences that name them, before or after the name."""
    nouns = sorted(
        (start, len(noun))
        for noun in _NOUNS
        for start in lower.found.get(noun, ())
        if not text[max(0, start - 1) : start].isalnum() or text[start - 2 : start - 1] == "\\"
    )
    for (start, length), (following, _) in pairwise([*nouns, (len(text), 0)]):
        end = min(following, start + _NEAR)
        if has_digit_and_letter(text[start:end]):
            span = _after(text, lower, start + length, end)
            if span:
                yield span
        before = text[max(0, start - _NEAR) : start]
        match = _AS.search(before) if " as " in before else None
        if match and _is_secret(match["word"], is_near=bool(match["close"])):
            offset = start - len(before)
            yield Span(offset + match.start("word"), offset + match.end("word"))


def _after(text: str, lower: str, start: int, most: int) -> Span | None:
    """Return the first secret in the sentence after a noun, or on the line below a label."""
    noun = _NOUN_END.match(text, start)
    if not noun:
        return None
    label = _LABEL.match(text, noun.end())
    if label and _is_secret(label["word"], is_near=True):
        return Span(*label.span("word"))
    ending = _END.search(text, noun.end(), most)
    end = ending.start() if ending else most
    if lower.endswith("credential", 0, start):
        pair = _PAIR.search(text, noun.end(), end)
        if pair and _is_secret(strip_end(pair["word"]), is_near=True):
            return Span(pair.start("word"), pair.start("word") + len(strip_end(pair["word"])))
    for match in _WORD.finditer(text, noun.end(), end):
        word = strip_end(match["word"])
        is_near = match["open"] or _LINK.fullmatch(text, noun.end(), match.start())
        if _is_secret(word, bool(is_near)):
            return Span(match.start("word"), match.start("word") + len(word))
    return None


def _is_secret(word: str, is_near: bool) -> bool:
    """Return whether a word is a secret; near the noun or in quotes, it may look less random."""
    if len(word) < 6 or not has_digit_and_letter(word) or MASK in word or is_placeholder(word):
        return False
    if _PLAIN.fullmatch(word) or is_code(word) or is_secret_name(word):
        return False
    is_mixed = word != word.lower() and word != word.upper()
    if is_identifier(word):
        return is_near and is_mixed and word[-2:].isdigit()
    if is_near:
        return stands_out(word) and len(word) >= 8
    return len(word) >= 8 and (is_mixed or len(word) >= 20 or bool(_SYMBOL.search(word)))
