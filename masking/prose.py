"""Find secrets in sentences, such as "Use X as the password" or "the token for staging (X)"."""

import re
from collections.abc import Iterator
from itertools import pairwise

from masking.literals import Lowercase, literals
from masking.printed_values import PHRASE, WORD_LINE, word_lines
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

_PASSWORDS = (
    "password", "passwort", "kennwort", "passphrase", "passcode", " pass is ", " pass was ",
    " pass are ",
)  # fmt: skip
_NOUNS = literals(
    *_PASSWORDS, "passwd", "token", "secret", "credential", "creds", "api key", "api-key",
    "access key", "private key", "encryption key", "license key", "master key", "admin key",
    "service key", "write key", "use key", "account key", "server key", "recovery code", "totp",
    "2fa seed", "otp seed", "contrase", "mot de passe", "пароль", "密码",
)  # fmt: skip
_LISTS = literals("recovery code", "recovery key", "backup code", "scratch code")
_NUMBERS = literals(" pin", "-pin", "\npin", "verification code", "security code", "one-time code")
_PHRASES = literals(
    "mnemonic", "seed phrase", "recovery phrase", "backup phrase", "seed words", "secret phrase"
)  # fmt: skip
_ALL = frozenset((*_NOUNS, *_LISTS, *_NUMBERS, *_PHRASES))
_NEAR = 100  # characters to search after or before a noun
# The end of a noun in a sentence, unlike a name in code such as "token=", "password_field" or JSON.
_NOUN_END = re.compile(
    r"s?(?:(?:ñ|\\{1,15}u00f1)a)?(?![\"'][ ]?:)(?=[\s,)\"'`*(]|:\s|\uff1a|\\{1,15}uff1a|\.\s)"
)
_END = re.compile(
    r"[\n{}\[\];]|(?:(?<=\s)=|=(?=[\s\"']))|\\n|[.!?][ ](?!It(?:['\u2019]s|[ ]is|[ ]was)[ ])"
)
_WORD = re.compile(r"(?P<open>[\"'`(«“]?)(?P<word>[^\s\"'`<>|\\«»“”\uff1a]{4,512}+)")
_LINK = re.compile(
    r"[\s,:*\uff1a]*+(?:(?:is|was|to|as|be|now|both|set|changed|reset|has|been|est|es|ist|lautet)[\s:]++){0,4}"
)
# What may come before another password in the same text, or one that is far from its noun.
_ALSO = re.compile(
    r"(?:\b(?:is|was|are|it['\u2019]s|to|or|both|now|maybe|with|use|used)|[:=]|\b(?:and|but)[ ]now)"
    r"(?:[ ](?:now|both|maybe|still|just|simply))?[ ]\Z"
)
_IS = re.compile(r"\b(?:is|was)[ ]\Z")
_QUOTED_PHRASE = re.compile(
    r"(?:is|was|to|:|with|use)[ ](?P<open>\\{0,15}[\"'`“])"
    r"(?P<word>[a-z]{3,12}(?:[ ][a-z]{3,12}){3,11})(?:(?P=open)|”)"
)
_COMMON = re.compile(
    r"\b(?:the|your|you|not|must|and|for|with|please|are|this|that|has|was|password|enter)\b"
)
_NUMBER = re.compile(
    r"(?<![a-z]pin)s?(?:[ ]code)?(?:[ ](?:for|of|on|to)[ ][^\n.,;:\\]{1,40}?)?"
    r"(?:[ ](?:is|was)(?:[ ]now)?|[ ]?[:=]|[ ]set[ ]to)?[ ][*`\"']{0,2}"
    r"(?P<word>[0-9]{4,12})(?![\w:/-]|[.,][0-9])"
)
_MNEMONIC = re.compile(
    r"(?:[ ]\([^()\n]{1,40}+\))?(?:[ ](?:is|was))?(?:[:=\s\"'`>|*-]|\\{1,15}[nt\"]){1,24}"
    r"(?P<word>(?:[a-z]{3,8}+[ ]){11,23}+[a-z]{3,8}+)(?![a-z])"
)
_LABEL = re.compile(r"[^\n\\]{0,60}:[*_`]{0,2}(?:\r?\n|(?:\\r)?\\n){1,3}")
_AS = re.compile(
    r"(?<![^\s\"'`(«“])(?P<word>[^\s\"'`<>|«»“”]{4,128}+)(?P<close>[\"'`)»”]?)"
    r"[ ]as[ ](?:the|my|your|its|a|an|their)[ ](?:\w{1,20}[ ]){0,2}\Z"
)
_PAIR = re.compile(r"[\s:`\"'(][\w.@+-]{2,40}+(?:[ ]?/[ ]?|:)(?P<word>[^\s\"'`<>|/]{4,128}+)")
_HEX = re.compile(r"[0-9a-f]{30,128}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SYMBOL = re.compile(r"[!@#$%^&*~+]")
# Versions, times, words with a number, hashes, addresses, file names, paths and code.
_PLAIN = re.compile(
    r"(?i)v?[0-9]+(?:[.:-][0-9]+)+[\w.+:-]*|[0-9]+[a-z]{1,3}|(?-i:[a-z]+[0-9]{1,2})|[0-9a-f-]{7,}"
    r"|[\w.+-]+@[\w.-]+|[a-z_-]+[0-9]{0,3}(?:\.[a-z]\w{0,5})+(?::\d+)?|[^/\\=(){}\[\]]*[/\\(){}\[\]].*"
    r"|[\w.-]+=[^=].*"
)


def find_in_prose(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield the secrets in sentences that name them, before or after the name."""
    if not lower.has(_ALL):
        return
    nouns = sorted(
        (start, noun)
        for noun in _NOUNS
        for start in lower.found.get(noun, ())
        if noun[0] == " "
        or not text[max(0, start - 1) : start].isalnum()
        or text[start - 2 : start - 1] == "\\"
    )
    for (start, noun), (following, _) in pairwise([*nouns, (len(text), "")]):
        end = min(following, start + _NEAR)
        is_password = noun in _PASSWORDS
        if has_digit_and_letter(text[start:end]) or (is_password and "-" in text[start:end]):
            yield from _after(text, lower, start + len(noun.rstrip()), end, is_password)
        phrase = _QUOTED_PHRASE.search(text, start, end + _NEAR) if is_password else None
        if phrase and not _COMMON.search(phrase["word"]):
            yield Span(*phrase.span("word"))
        before = text[max(0, start - _NEAR) : start]
        match = _AS.search(before) if " as " in before else None
        if match and _is_secret(match["word"], is_near=bool(match["close"])):
            offset = start - len(before)
            yield Span(offset + match.start("word"), offset + match.end("word"))
    for patterns, literal in ((_NUMBERS, _NUMBER), (_PHRASES, _MNEMONIC)):
        for noun in patterns:
            for start in lower.found.get(noun, ()):
                match = literal.match(lower, start + len(noun))
                if match:
                    yield Span(*match.span("word"))
    for noun in _LISTS:
        for start in lower.found.get(noun, ()):
            label = _LABEL.match(text, start + len(noun))
            if label:
                yield from word_lines(text, label.end())


def _after(text: str, lower: str, start: int, most: int, is_password: bool) -> Iterator[Span]:
    """Yield the secrets in the sentence after a noun, or on the line below a label."""
    noun = _NOUN_END.match(text, start)
    if not noun:
        return
    label = _LABEL.match(text, noun.end())
    line = WORD_LINE.match(text, label.end()) if label else None
    if line and _is_secret(line["word"], is_near=True):
        yield Span(*line.span("word"))
        return
    ending = _END.search(text, noun.end(), most)
    end = ending.start() if ending else most
    if lower.endswith(("credential", "creds"), 0, start):
        pair = _PAIR.search(text, noun.end(), end)
        if pair and _is_secret(strip_end(pair["word"]), is_near=True):
            yield Span(pair.start("word"), pair.start("word") + len(strip_end(pair["word"])))
            return
    for match in _WORD.finditer(text, noun.end(), end):
        word = strip_end(match["word"])
        is_first = bool(_LINK.fullmatch(text, noun.end(), match.start()))
        is_near = is_first or bool(match["open"]) or _is_named_again(text, match.start())
        is_sure = is_first or bool(_IS.search(text[max(0, match.start() - 5) : match.start()]))
        if _is_secret(word, is_near, is_password, is_sure):
            yield Span(match.start("word"), match.start("word") + len(word))


def _is_named_again(text: str, start: int) -> bool:
    """Return whether words such as "it's now" or "or maybe" come before a position."""
    return bool(_ALSO.search(text[max(0, start - 20) : start]))


def _is_secret(word: str, is_near: bool, is_password: bool = False, is_sure: bool = False) -> bool:
    """Return whether a word is a secret; near the noun or in quotes, it may look less random."""
    if is_near and is_password and PHRASE.fullmatch(word):
        return has_digit_and_letter(word) or word.count("-") > 2
    if len(word) < 6 or not has_digit_and_letter(word) or MASK in word or is_placeholder(word):
        return False
    if is_sure and _HEX.fullmatch(word):
        return True
    if _PLAIN.fullmatch(word) or is_code(word) or is_secret_name(word):
        return False
    is_mixed = word != word.lower() and word != word.upper()
    if is_identifier(word):
        return is_near and is_mixed and word[-2:].isdigit()
    if is_near:
        return stands_out(word) and len(word) >= 8
    return len(word) >= 8 and (is_mixed or len(word) >= 20 or bool(_SYMBOL.search(word)))
