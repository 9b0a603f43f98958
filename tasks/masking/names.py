"""Secrets that follow a name: in JSON, environments, headers, flags, settings, code and prose."""

import re
from collections.abc import Iterator

from tasks.masking.rules import Span
from tasks.masking.values import (
    Place,
    has_digit_and_letter,
    is_code,
    is_gap,
    is_label,
    is_mixed,
    is_password_name,
    is_quoted_secret,
    is_secret_name,
    is_variable_name,
    stands_out,
    without_end,
)

STEMS = (
    "pass", "pwd", "secret", "token", "key", "auth", "cookie", "credential", "jwt", "bearer",
    "psk", "sig", "pw", "sessid", "session_id", "sessionid", "connectionstring",
    "connection_string", "kennwort",
)  # fmt: skip
_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_LONGEST_NAME = 64

# A name, and what may stand between it and its value. Every part is bounded or possessive.
_NAMED = re.compile(
    "(?:"
    + "|".join(STEMS)
    + r""")(?P<name>[\w-]{0,64}+)
    (?P<closed>\\{0,7}["'`])?+ (?:\])?+ \*{0,2}+
    (?: (?P<before>[ \t]{0,32}+) (?P<sep>:=|=>|={1,3}|:(?!:)|(?<=["'`]),)
        (?: [ ]?[a-z_][\w.]{0,30}+(?:\[[\w., |]{0,40}+\])?+(?:[ ]\|[ ]none)?+
            [ ]?=(?=[ ]?\\{0,7}["']) )?+
        \*{0,2}+ [ \t]{0,32}+ (?:\\{1,7}[rn][ \t]{0,8}+)*+
      | (?P<xml>>)(?=[^<>\s]{1,256}+</)
      | (?P<is>[ \t]{1,8}
          (?:(?:has[ ]been[ ]|is[ ]|was[ ])?(?:set[ ]|changed[ ]|reset[ ])?to|is|was|are)
          [ \t]{0,2}:?[ \t]{1,8}) )
    """,
    re.ASCII | re.VERBOSE,
)
_FLAG = re.compile(r"--(?P<name>[\w-]{2,64}+)[ ]{1,16}+(?=[^\s|&<>;:=(-])", re.ASCII)
_DOCKER = re.compile(r"ENV[ ](?P<name>[A-Z][A-Z0-9_]{2,64}+)[ ](?=[^\s=])", re.ASCII)
_TESTED = 256  # characters of an unquoted value that say what it is
_OPENED = re.compile(
    r"(?:[bruf]{1,2})?(?P<slashes>\\{0,7})(?P<quote>[\"'`])(?!(?P=quote)(?P=quote))", re.ASCII
)
_QUOTES = {quote: re.compile(rf"(?P<slashes>\\*+)(?P<quote>[\"{quote}])|\n") for quote in "\"'`"}
_ENDS_JSON = re.compile(r"\s{0,40}+(?:[,\]}:]|\Z)")
_RUN = re.compile(r"(?:[^\s\"'`<>\\]|\\++(?![\\nrtbfu/\"'\s`]).|\\++/(?=[^\s\"']))*+", re.DOTALL)
_NEXT_FIELD = re.compile(r"[,;&](?=[ ]?[\w.%\[\]-]{1,40}+[=:]|\Z)|&(?:quot|gt|lt|apos|#\d+);")
_SCHEME = re.compile(
    r"(?i)(?:Bearer|Basic|Token|Digest|Bot|ApiKey|Api-Key|Negotiate|GoogleLogin|Splunk|SSWS|GenieKey"
    r"|AWS4-HMAC-SHA256|OAuth|Key|MAC|SharedAccessSignature)(?:[ ]++|%20|\+(?=\S))"
)
_LINE_START = re.compile(
    r"(?:^|\n|\\n)[ \t>|+-]*(?:(?:export|set|env|ENV|ARG|local|declare -x|setx)[ ]+)?[\"']?\Z"
)
_LINE_END = re.compile(r"[ \t]*+[,;]?(?:\r?\n|\\+[nr\"]|\"|\Z|[ \t]++[#/])")
_JSON_NUMBER = re.compile(r"-?[0-9][0-9.eE+-]*+")
_PATH = re.compile(r"\\{0,7}[\"']?(?:[~/.]|[A-Za-z]:\\)")
_WHICH_KEY = re.compile(r"(?i)\b(?:api|access|secret|private|signing|encryption)[ ]\Z")
_BREAKS = re.compile(r'["\\\n]')
_COOKIE = re.compile(r"[\w!#$%&*+.^|~-]{1,128}+=")
_HEADER_END = re.compile(r"(?:[^\r\n\"'\\`]|\\++(?![\\nrtbfu/\"'\s])|\\/)*+")


def by_name(text: str, lower: str) -> Iterator[Span]:
    """The values of all names in a text that are those of secrets."""
    names = _Names(text)
    done = 0
    for found in _NAMED.finditer(lower):
        if found.end() >= done:
            span = names.span(found)
            if span:
                done = span.end
                yield span
    for found in (*_FLAG.finditer(text), *_DOCKER.finditer(text)):
        if is_secret_name(found["name"]):
            place = Place(found["name"], found.start(), found.end(), "flag", False, "")
            span = names.value(place)
            if span:
                yield span


class _Names:
    def __init__(self, text: str) -> None:
        self.text = text
        self.in_json = text[:200].lstrip()[:1] in ("{", "[", '"')
        self.ends: dict[re.Pattern[str], tuple[int, int]] = {}
        self.field = 0, 0

    def span(self, found: re.Match[str]) -> Span | None:
        text, position = self.text, found.start()
        before = text[max(0, position - _LONGEST_NAME) : position]
        start = position - (len(before) - len(before.rstrip(_NAME_CHARACTERS)))
        if start < position and text[start - 1 : start] == "\\" and text[start] in "nrtbf":
            start += 1
        if text[start : found.end("name")] in ("key", "Key", "KEY"):
            which = _WHICH_KEY.search(text[max(0, start - 12) : start])
            start -= len(which[0]) if which else 0
        name = text[start : found.end("name")]
        if not is_secret_name(name):
            return None
        if name.lower() == "pwd" and _PATH.match(text, found.end()):
            return None  # the working directory
        if name == "sig" and text[start - 1 : start] not in ("?", "&"):
            return None
        if found["xml"]:
            return self._in_element(start, found.end())
        if found["is"] and found["closed"]:
            return None
        sep = found["sep"] or "is"
        closed = found["closed"] or ""
        return self.value(Place(name, start, found.end(), sep, bool(found["before"]), closed))

    def _end(self, pattern: re.Pattern[str], start: int) -> int:
        """Where what a pattern takes ends: the same for all that start in one run."""
        since, end = self.ends.get(pattern, (0, 0))
        if not since <= start < end:
            run = pattern.match(self.text, start)
            end = run.end() if run else start
            self.ends[pattern] = start, end
        return end

    def _field_end(self, start: int) -> int:
        """Where an unquoted value ends: before the next field of a list of them."""
        since, end = self.field
        if not since <= start < end:
            end = self._end(_RUN, start)
            cut = _NEXT_FIELD.search(self.text, start, end)
            end = cut.start() if cut else end
            self.field = start, end
        return end

    def _in_element(self, start: int, value: int) -> Span | None:
        end = self.text.index("<", value)
        content = self.text[value:end]
        if self.text[start - 1 : start] != "<" or is_gap(content) or _BREAKS.search(content):
            return None
        return Span(value, end, "name")

    def value(self, place: Place) -> Span | None:
        text, name = self.text, place.name.lower()
        opened = _OPENED.match(text, place.value)
        if not opened and place.sep in ":=":
            if "cookie" in name and place.sep == ":":
                pair = _COOKIE.match(text, place.value)
                return self._header(place, place.value) if pair else None
            if "authorization" in name:
                scheme = _SCHEME.match(text, place.value)
                return self._header(place, scheme.end() if scheme else place.value)
        if not opened:
            return self._unquoted(place, place.value)
        quote = opened["slashes"] + opened["quote"]
        if not place.closed and text.startswith(quote, max(0, place.start - len(quote))):
            return None  # the quote ends what the name is in
        start, end = opened.end(), self._quoted_end(opened)
        if end is None:
            return self._unquoted(place, start, unclosed=True)
        scheme = _SCHEME.match(text, start, end)
        if scheme and scheme.end() < end:
            start = scheme.end()
        in_json = self.in_json or opened["slashes"]
        if in_json and not place.closed and _ENDS_JSON.match(text, opened.end()):
            return None  # likewise, in JSON
        if is_quoted_secret(place, text[start:end], opened["quote"]):
            return Span(start, end, "name")
        return None

    def _header(self, place: Place, start: int) -> Span | None:
        end = self._end(_HEADER_END, start)
        value = self.text[start : min(end, start + _TESTED)].rstrip()
        if not value or is_gap(value) or is_code(value) or value.endswith(("(", "{", "[")):
            return None
        if not (self._starts_line(place.start) or stands_out(value)):
            return None
        if (
            place.closed
            or is_variable_name(value.rstrip(",;)"))
            or (value.isalpha() and len(value) < 12)
        ):
            return None
        if value.startswith(("$", "{", "<", "[")) and " " not in value:
            return None
        return Span(start, max(end, start + len(value)), "header")

    def _quoted_end(self, opened: re.Match[str]) -> int | None:
        """Where a quoted value ends; None where its line does first. Escapes count by level."""
        text, quote, slashes = self.text, opened["quote"], len(opened["slashes"])
        for found in _QUOTES[quote].finditer(text, opened.end()):
            if found[0] == "\n":
                return None
            count = len(found["slashes"])
            ends = found.end() - (1 << _level(count))
            if found["quote"] == '"' == quote:
                if _level(count) <= _level(slashes):
                    return ends
            elif found["quote"] == quote:
                if count <= slashes or count % 2 == 0:
                    return found.end() - 1 - min(count, slashes)
            elif (self.in_json or count) and _ENDS_JSON.match(text, found.end()):
                return ends
        return len(text)

    def _unquoted(self, place: Place, start: int, unclosed: bool = False) -> Span | None:
        text, end = self.text, self._field_end(start)
        value = text[start : min(end, start + _TESTED)]
        if not unclosed and value.startswith(("(", "[", "{", "<", "|", "&", "@", "$(", "${")):
            return None
        number = _JSON_NUMBER.match(value) if place.closed else None
        if number and not value[number.end() :].strip(",]}"):
            least = 4 if is_password_name(place.name) else 8
            is_long = len(number[0]) >= least
            return Span(start, start + number.end(), "name", place.closed) if is_long else None
        whole = value
        if end - start <= _TESTED:
            value = without_end(value)
            end = start + len(value)
        if not value or not (unclosed or self._is_unquoted_secret(place, value, start, end)):
            return None
        if is_gap(value) or is_code(value) or (whole != value and is_gap(whole)):
            return None
        return Span(start, end, "name")

    def _starts_line(self, start: int) -> bool:
        if self.text[max(0, start - 1) : start] in ("", "\n"):
            return True
        return bool(_LINE_START.search(self.text[max(0, start - 40) : start]))

    def _is_unquoted_secret(self, place: Place, value: str, start: int, end: int) -> bool:
        text = self.text
        password = is_password_name(place.name)
        if place.sep == ",":
            return False
        if place.sep == "is":
            return stands_out(value) and (password or len(value) >= 8)
        if place.sep == "flag":
            return password or len(value) >= 6
        before = text[max(0, place.start - 2) : place.start]
        in_line = bool(_LINE_END.match(text, end)) and self._starts_line(place.start)
        if place.sep == "=" and not place.spaced and text[place.value - 1] == "=":
            if before[-1:] in ("?", "&", ";", "/") or place.name.startswith("-"):
                return not is_variable_name(value) or has_digit_and_letter(value)
            if before[-1:] in ("(", ",") or before == ", " or text[end : end + 1] == ")":
                return stands_out(value) and not is_variable_name(value)
            if (
                is_variable_name(value)
                and not place.name.isupper()
                and not has_digit_and_letter(value)
            ):
                return False
            return password or place.name.isupper() or len(value) >= 6
        if stands_out(value) and not is_variable_name(value):
            return password or len(value) >= 8 or (in_line and len(value) >= 6)
        if not in_line or is_variable_name(value) or is_label(value) or len(value) < 4:
            return False
        if place.sep == ":":
            shortest = 6 if re.search(r"[-_ ]", place.name) else 12
            return password or (len(value) >= 8 and is_mixed(value)) or len(value) >= shortest
        return is_mixed(value) or (value[:1].isupper() and password) or len(value) >= 12


def _level(slashes: int) -> int:
    """How many times a quote after so many backslashes has been escaped: 0, 1, 3, 7 are 0 to 3."""
    return (~slashes & (slashes + 1)).bit_length() - 1
