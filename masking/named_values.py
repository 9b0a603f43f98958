"""Secrets that follow a name: in JSON, environments, headers, flags, settings, code and prose."""

import re
from collections.abc import Iterator

from masking.name_patterns import DOCKER, FLAG, NAMED
from masking.quoting import ENDS_JSON, OPENED, is_in_json, is_like, quoted_end
from masking.unquoted_values import is_opened, is_unquoted_secret, starts_line
from masking.values import (
    COLOUR,
    MASK,
    SPACE,
    Place,
    Span,
    is_code,
    is_gap,
    is_password_name,
    is_quoted_secret,
    is_secret_name,
    is_variable_name,
    stands_out,
    without_end,
)

_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_LONGEST_NAME = 64

_TESTED = 256  # characters of an unquoted value that say what it is
_COLOUR = re.compile(COLOUR)
_ESCAPE = r"\\++(?![\\nrtbfu/\"'\s`]|(?:[xX]1[bB]|033|e)\[)"
_RUN = re.compile(rf"(?:[^\s\"'`<>\\\x1b]|{_ESCAPE}.|\\++/(?=[^\s\"']))*+", re.DOTALL)
_NEXT_FIELD = re.compile(
    r"[,;&](?=[ ]?[\w.%\[\]-]{1,40}+[=:]|\Z)|&(?:quot|gt|lt|apos|#\d+);|%(?:25)?26"
)
_SCHEME = re.compile(
    r"(?i)(?:Bearer|Basic|Token|Digest|Bot|ApiKey|Api-Key|Negotiate|GoogleLogin|Splunk|SSWS|GenieKey"
    r"|AWS4-HMAC-SHA256|OAuth|Key|MAC|SharedAccessSignature)(?:[ ]++|%20|\+(?=\S))"
)
_CREDENTIALS = re.compile(
    r"[^\s\"'\\]++(?![ \t]++[A-Za-z]{2})|[\w-]{2,40}+[ ](?=[^\s\"'\\=]{0,40}[0-9=])[^\s\"'\\]{8}"
)
# These have names of their own for what they hold.
_WITH_NAMES = re.compile(r"(?i)(?:Digest|OAuth)[ ]++[a-z_]{2,40}+=\\{0,15}[\"']")
_IN_LINES = re.compile(r"[^\"'`\\]{1,1024}+(?=[\"'][ \t]*+(?:\n|\Z))")
_TEXT_IN_JSON = re.compile(r"\[?\\{0,15}[\"']|\[\s")
_OBJECT = re.compile(
    rf"\{{{SPACE}\\{{0,15}}[\"'](?:value|raw|plain|plaintext|current)\\{{0,15}}[\"']{SPACE}:{SPACE}"
)
_LIST = re.compile(rf"\[{SPACE}")
_NEXT_ITEM = re.compile(rf"\\{{0,15}}[\"']{SPACE},{SPACE}")
_SIGNS = {"\uff1a": ":", "uff1a": ":", "→": "is", "u2192": "is", "%3d": "=", "%253d": "="}
_JSON_NUMBER = re.compile(r"-?[0-9][0-9.eE+-]*+")
_PATH = re.compile(r"\\{0,15}[\"']?(?:[~/.]|[A-Za-z]:\\)")
_WHICH_KEY = re.compile(
    r"(?i)(?:\b|(?<=\\[nrt]))(?:api|access|secret|private|signing|encryption)[ ]\Z"
)
_ATTRIBUTE = re.compile(r"(?:name|key)=\\{0,15}[\"']\Z")
_BLOCK = re.compile(r"[|>][+-]?[0-9]?[ \t]*+(?:\r?\n|\\{1,15}n)[ \t]{1,40}+")
_BREAKS = re.compile(r'["\\\n]')
_COOKIE = re.compile(r"[\w!#$%&*+.^|~-]{1,128}+=")
_HEADER_END = re.compile(rf"(?:[^\r\n\"'\\`\x1b]|{_ESCAPE}|\\/)*+")


def by_name(text: str, lower: str) -> Iterator[Span]:
    """The values of all names in a text that are those of secrets."""
    names = _Names(text)
    done = 0
    for found in NAMED.finditer(lower):
        if found.end() >= done:
            for span in names.spans(found):
                done = span.end
                yield span
    for found in (*FLAG.finditer(text), *DOCKER.finditer(text)):
        if is_secret_name(found["name"]):
            place = Place(found["name"], found.start(), found.end(), "flag", False, "")
            value = names.value(place)
            if value:
                yield value


class _Names:
    """The names in a text, and what follows them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.in_json = is_in_json(text)
        # The last run that each pattern took and the last unquoted value, from and to: many names
        # in one of these would take quadratic time otherwise.
        self.ends: dict[re.Pattern[str], tuple[int, int]] = {}
        self.field = 0, 0

    def spans(self, found: re.Match[str]) -> Iterator[Span]:
        """The secrets that follow a name: one, or those of a list."""
        place = self._place(found)
        if not place:
            return
        if place.closed and place.sep == ":" and self.text[place.value : place.value + 1] in "[{":
            yield from self._inside(place)
            return
        value = self._in_element if found["xml"] else self.value
        span = value(place)
        if span:
            yield span

    def _start(self, found: re.Match[str]) -> int:
        """Where a name starts, of which a part is found."""
        text, position = self.text, found.start()
        before = text[max(0, position - _LONGEST_NAME) : position]
        start = position - (len(before) - len(before.rstrip(_NAME_CHARACTERS)))
        if start < position and text[start - 1 : start] == "\\" and text[start] in "nrtbf":
            start += 1
        elif text[max(0, start - 1) : start] == "%":
            start = min(start + 2, position)  # "%3Fpassword"
        elif start < position and text[start - 1] in "[;":
            colours = _COLOUR.finditer(text, max(0, start - 24), position)
            start = max([start, *(colour.end() for colour in colours)])
        if text[start : found.end("name")] in ("key", "Key", "KEY"):
            which = _WHICH_KEY.search(text[max(0, start - 12) : start])
            start -= len(which[0]) if which else 0
        return start

    def _place(self, found: re.Match[str]) -> Place | None:
        """The name and what follows it, if it is that of a secret."""
        text, start = self.text, self._start(found)
        name, closed = text[start : found.end("name")], found["closed"] or ""
        if not is_secret_name(name):
            is_key = closed and found["sep"] == ":" and _TEXT_IN_JSON.match(text, found.end())
            if not (is_key and name[-1:] == "s" and is_secret_name(name[:-1])):
                return None
        is_flush = text[max(0, start - 1) : start] in ("", "\n")
        if name == "PASS" and is_flush and found["sep"] == ":":
            return None  # of a test
        if name.lower() == "pwd" and _PATH.match(text, found.end()):
            return None  # the working directory
        if name == "sig" and text[start - 1 : start] not in ("?", "&"):
            return None
        if found["is"] and closed:
            return None
        sep = found["sep"] or "is"
        sep = _SIGNS.get(sep.lstrip("\\").lower(), sep)
        spaced, broken = bool(found["before"]), bool(found["broken"])
        return Place(name, start, found.end(), sep, spaced, closed, broken)

    def _inside(self, place: Place) -> Iterator[Span]:
        """The texts in a list, or the value of an object, beneath a name in JSON."""
        place = place._replace(is_broken=False)
        opened = _OBJECT.match(self.text, place.value)
        if opened:
            inner = self.value(place._replace(value=opened.end()))
            if inner:
                yield inner
        item = _LIST.match(self.text, place.value)
        while item:
            quoted = OPENED.match(self.text, item.end())
            end = quoted_end(self.text, quoted, self.in_json) if quoted else None
            if not quoted or end is None or not is_like(quoted, place.closed):
                return
            start, value = quoted.end(), self.text[quoted.end() : end]
            is_sure = is_password_name(place.name) or stands_out(value)
            is_new = end > start and MASK not in value
            if is_new and is_sure and is_quoted_secret(place, value, quoted["quote"]):
                yield Span(start, end)
            item = _NEXT_ITEM.match(self.text, end)

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

    def _in_element(self, place: Place) -> Span | None:
        """The content of an XML element that the name is that of, or its attribute `name`."""
        end = self.text.index("<", place.value)
        content = self.text[place.value : end]
        before = self.text[max(0, place.start - 24) : place.start]
        is_named = bool(_ATTRIBUTE.search(before)) and stands_out(content)
        if not (before.endswith("<") or is_named) or is_gap(content):
            return None
        return None if _BREAKS.search(content) else Span(place.value, end)

    def value(self, place: Place) -> Span | None:
        """The value at a place, in quotes or not, if it is a secret."""
        text, name = self.text, place.name.lower()
        opened = OPENED.match(text, place.value)
        if not opened and place.sep in ":=" and not place.is_broken:
            if "cookie" in name and place.sep == ":":
                pair = _COOKIE.match(text, place.value)
                if pair and name.startswith("set") and text[pair.end() : pair.end() + 1] == ";":
                    return None  # a cookie that is taken away
                return self._header(place, place.value) if pair else None
            if "authorization" in name:
                if _WITH_NAMES.match(text, place.value):
                    return None
                scheme = _SCHEME.match(text, place.value)
                if not scheme and not _CREDENTIALS.match(text, place.value):
                    return None  # "see section 4"
                return self._header(place, scheme.end() if scheme else place.value)
        if not opened:
            return self._unquoted(place, place.value)
        quote = opened["slashes"] + opened["quote"]
        if not place.closed and text.startswith(quote, max(0, place.start - len(quote))):
            return None  # the quote ends what the name is in
        if place.is_broken and not place.closed and place.sep != ":":
            return None
        start, end = opened.end(), quoted_end(text, opened, self.in_json)
        if end is None and place.sep == "=" and place.name.isupper() and not place.spaced:
            lines = _IN_LINES.match(text, opened.end()) if starts_line(text, place.start) else None
            end = lines.end() if lines and text.startswith(quote, lines.end()) else None
        if end is None:
            return self._unquoted(place, start, unclosed=True)
        scheme = _SCHEME.match(text, start, end)
        if scheme and scheme.end() < end:
            start = scheme.end()
        in_json = self.in_json or opened["slashes"]
        if in_json and not is_like(opened, place.closed) and ENDS_JSON.match(text, opened.end()):
            return None  # likewise, in JSON
        if is_quoted_secret(place, text[start:end], opened["quote"]):
            return Span(start, end)
        return None

    def _header(self, place: Place, start: int) -> Span | None:
        """What is left of a header's line, if it is a secret."""
        text, end = self.text, self._end(_HEADER_END, start)
        value = text[start : min(end, start + _TESTED)].rstrip()
        if not value or is_gap(value) or is_code(value) or value.endswith(("(", "{", "[")):
            return None
        if not (starts_line(text, place.start) or stands_out(value)):
            return None
        if place.closed or is_variable_name(value.rstrip(",;)")):
            return None
        if value.isalpha() and len(value) < 12:
            return None
        if value.startswith(("$", "{", "<", "[")) and " " not in value:
            return None
        return Span(start, max(end, start + len(value)))

    def _unquoted(self, place: Place, start: int, unclosed: bool = False) -> Span | None:
        """A value without quotes, or one whose quote is never closed."""
        text, end = self.text, self._field_end(start)
        value = text[start : min(end, start + _TESTED)]
        block = _BLOCK.match(text, start) if place.sep == ":" else None
        if block:
            return self._unquoted(place._replace(is_broken=True), block.end())
        is_setting = place.sep == "=" and place.name.isupper() and not place.spaced
        if is_setting and text.startswith("&", end) and starts_line(text, place.start):
            end = self._end(_RUN, start)
            value = text[start : min(end, start + _TESTED)]
        if not unclosed and is_opened(place, value):
            return None
        number = _JSON_NUMBER.match(value) if place.closed else None
        if number and not value[number.end() :].strip(",]}"):
            least = 4 if is_password_name(place.name) else 8
            is_long = len(number[0]) >= least
            return Span(start, start + number.end(), place.closed) if is_long else None
        whole = value
        if end - start <= _TESTED:
            value = without_end(value)
            end = start + len(value)
        if not value:
            return None
        if unclosed:
            return None if is_gap(value) or is_code(value) else Span(start, end)
        sure = is_unquoted_secret(place, text, value, whole, end)
        return Span(start, end) if sure else None
