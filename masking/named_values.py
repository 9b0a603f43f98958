"""Find secrets that follow a name, in JSON, environment variables, headers, code or prose."""

import re
from collections.abc import Iterator

from masking.literals import Lowercase, find_matches
from masking.name_patterns import FLAG, NAME_STEMS, NAMED, SETTING, SETTING_COMMANDS, STEMS
from masking.quoting import ENDS_JSON, OPENING_QUOTE, end_of_quoted, is_json, is_same_quote
from masking.unquoted_values import is_at_line_start, is_unquoted_secret, opens_expression
from masking.values import (
    MASK,
    SPACE,
    Field,
    Span,
    is_code,
    is_password_name,
    is_placeholder,
    is_quoted_secret,
    is_secret_name,
    is_variable_name,
    stands_out,
    strip_end,
)

_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_LONGEST_NAME = 64

_TESTED = 256  # maximum number of characters to examine in an unquoted value
_ESCAPE = r"(?<!\\)\\++(?![\\nrtbfu/\"'\s`])"
_RUN = re.compile(rf"(?:[^\s\"'`<>\\]|{_ESCAPE}.|(?<!\\)\\++/(?=[^\s\"']))*+", re.DOTALL)
_NEXT_FIELD = re.compile(r"[,;&](?=[ ]?[\w.%\[\]-]{1,40}+[=:]|\Z)")
_SCHEME = re.compile(
    r"(?i)(?:Bearer|Basic|Token|Digest|Bot|ApiKey|Api-Key|Negotiate|GoogleLogin|Splunk|SSWS|GenieKey"
    r"|AWS4-HMAC-SHA256|OAuth|Key|MAC|SharedAccessSignature)(?:[ ]++|%20|\+(?=\S))"
)
_CREDENTIALS = re.compile(
    r"[^\s\"'\\]++(?![ \t]++[A-Za-z]{2})|[\w-]{2,40}+[ ](?=[^\s\"'\\=]{0,40}[0-9=])[^\s\"'\\]{8}"
)
# Authorization headers that consist of named parameters, such as Digest headers.
_WITH_NAMES = re.compile(r"(?i)(?:Digest|OAuth)[ ]++[a-z_]{2,40}+=\\{0,15}[\"']")
_IN_LINES = re.compile(r"[^\"'`\\]{1,1024}+(?=[\"'][ \t]*+(?:\n|\Z))")
_TEXT_IN_JSON = re.compile(r"\[?\\{0,15}[\"']|\[\s")
_OBJECT = re.compile(
    rf"\{{{SPACE}\\{{0,15}}[\"'](?:value|raw|plain|plaintext|current)\\{{0,15}}[\"']{SPACE}:{SPACE}"
)
_LIST = re.compile(rf"\[{SPACE}")
_NEXT_ITEM = re.compile(rf"\\{{0,15}}[\"']{SPACE},{SPACE}")
_SEPARATORS = {"\uff1a": ":", "uff1a": ":", "→": "is", "u2192": "is"}
_JSON_SCALAR = re.compile(r"(?:(?P<number>-?[0-9][0-9.eE+-]*+)|true|false|null)(?=[\s,\]}\\]|\Z)")
_PATH = re.compile(r"\\{0,15}[\"']?(?:[~/.]|[A-Za-z]:\\)")
_WHICH_KEY = re.compile(
    r"(?i)(?:\b|(?<=\\[nrt]))(?:api|access|secret|private|signing|encryption)[ ]\Z"
)
_ATTRIBUTE = re.compile(r"(?:name|key)=\\{0,15}[\"']\Z")
_BLOCK = re.compile(r"(?:![\w-]{1,20}[ ])?[|>][+-]?[0-9]?[ \t]*+(?:\r?\n|\\{1,15}n)[ \t]{1,40}+")
_CHANGED = re.compile(r"\\{0,15}[\"']?[ ](?:->|=>|→)[ ](?=\S)")
_TRIPLE = re.compile(
    r"(?P<quote>\\{0,15}[\"'])(?P=quote)"
    r"(?=(?P=quote)[^\s\"'\\][^\"'\\\n]{1,512}+(?P=quote){3})"
)
_BREAKS = re.compile(r'["\\\n]')
_COOKIE = re.compile(r"[\w!#$%&*+.^|~-]{1,128}+=")
_HEADER_END = re.compile(rf"(?:[^\r\n\"'\\`]|{_ESCAPE}|\\/)*+")


def find_named_values(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield the values that follow secret names in the text."""
    names = _Names(text)
    done = 0
    for match in find_matches(NAMED, lower, lower.starts(*STEMS)):
        if match.end() >= done:
            for span in names.spans(match):
                done = span.end
                yield span
    settings = find_matches(SETTING, text, lower.starts(*SETTING_COMMANDS))
    for match in (*_flags(text, lower), *settings):
        if is_secret_name(match["name"]):
            field = Field(match["name"], match.start(), match.end(), "flag", False, "")
            value = names.value(field)
            if value:
                yield value


def _flags(text: str, lower: Lowercase) -> Iterator[re.Match[str]]:
    """Yield the matches of `FLAG` for flags such as `--db-token` whose names have a known stem."""
    done = 0
    for stem in lower.starts(*NAME_STEMS):
        if stem < done or text[stem - 1 : stem].isspace():
            continue
        start = _name_start(text, stem)
        for dash in (start, text.find("--", start, stem)):
            flag = FLAG.match(text, dash) if text[dash : dash + 1] == "-" else None
            if flag and flag.end() > done:
                done = flag.end()
                yield flag
                break


def _name_start(text: str, position: int) -> int:
    """Return where the name starts that contains the position or ends there."""
    before = text[max(0, position - _LONGEST_NAME) : position]
    return position - (len(before) - len(before.rstrip(_NAME_CHARACTERS)))


class _Names:
    """Finds the secret names in a piece of text and the values that follow them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.in_json = is_json(text)
        # The (start, end) of each pattern's latest match and of the latest unquoted value.
        # Without these caches, many names in one run of text would take quadratic time.
        self.last_runs: dict[re.Pattern[str], tuple[int, int]] = {}
        self.last_value = 0, 0

    def spans(self, match: re.Match[str]) -> Iterator[Span]:
        """Yield the secret that follows a name, or all the secrets if a list follows."""
        field = self._field(match)
        if not field:
            return
        opens_container = self.text[field.value_start : field.value_start + 1] in "[{"
        if field.quote and field.sep == ":" and opens_container:
            yield from self._inside(field)
            return
        value = self._in_element if match["xml"] else self.value
        span = value(field)
        while span:
            yield span
            changed = _CHANGED.match(self.text, span.end)
            span = value(field._replace(value_start=changed.end())) if changed else None

    def _start(self, match: re.Match[str]) -> int:
        """Return where a name starts; the match may begin later, as with `key` in `apikey`."""
        text, position = self.text, match.start()
        start = _name_start(text, position)
        if start < position and text[start - 1 : start] == "\\" and text[start] in "nrtbf":
            start += 1
        if text[start : match.end("name")] in ("key", "Key", "KEY"):
            which = _WHICH_KEY.search(text[max(0, start - 12) : start])
            start -= len(which[0]) if which else 0
        return start

    def _field(self, match: re.Match[str]) -> Field | None:
        """Return the matched name and its syntax, or None if it does not name a secret."""
        text, start = self.text, self._start(match)
        name, closed = text[start : match.end("name")], match["closed"] or ""
        if not is_secret_name(name):
            is_key = closed and match["sep"] == ":" and _TEXT_IN_JSON.match(text, match.end())
            if not (is_key and name[-1:] == "s" and is_secret_name(name[:-1])):
                return None
        is_flush = text[max(0, start - 1) : start] in ("", "\n")
        if name == "PASS" and is_flush and match["sep"] == ":":
            return None  # a test result, as in "PASS: test_login"
        if name.lower() == "pwd" and _PATH.match(text, match.end()):
            return None  # PWD means the working directory here
        if name == "sig" and text[start - 1 : start] not in ("?", "&"):
            return None
        if closed and (match["is"] or match["wrap"]):
            return None
        if match["part"] and not (closed and _ATTRIBUTE.search(text[max(0, start - 24) : start])):
            return None
        sep = "(" if match["wrap"] or match["call"] else match["sep"] or "is"
        sep = ":" if sep[0] == "." else _SEPARATORS.get(sep.lstrip("\\").lower(), sep)
        spaced, broken = bool(match["before"]), bool(match["broken"])
        return Field(name, start, match.end(), sep, spaced, closed, broken)

    def _inside(self, field: Field) -> Iterator[Span]:
        """Yield the secrets in a JSON list or `{"value": ...}` object that follows a name."""
        field = field._replace(on_next_line=False)
        opening = _OBJECT.match(self.text, field.value_start)
        if opening:
            inner = self.value(field._replace(value_start=opening.end()))
            if inner:
                yield inner
        item = _LIST.match(self.text, field.value_start)
        while item:
            quoted = OPENING_QUOTE.match(self.text, item.end())
            end = end_of_quoted(self.text, quoted, self.in_json) if quoted else None
            if not quoted or end is None or not is_same_quote(quoted, field.quote):
                return
            start, value = quoted.end(), self.text[quoted.end() : end]
            is_sure = is_password_name(field.name) or stands_out(value)
            is_new = end > start and MASK not in value
            if is_new and is_sure and is_quoted_secret(field, value, quoted["quote"]):
                yield Span(start, end)
            item = _NEXT_ITEM.match(self.text, end)

    def _end(self, pattern: re.Pattern[str], start: int) -> int:
        """Return where a match from `start` ends, reusing the last match if it covers `start`."""
        since, end = self.last_runs.get(pattern, (0, 0))
        if not since <= start < end:
            run = pattern.match(self.text, start)
            end = run.end() if run else start
            self.last_runs[pattern] = start, end
        return end

    def _field_end(self, start: int) -> int:
        """Return where an unquoted value ends: at a space, at a quote or before the next field."""
        since, end = self.last_value
        if not since <= start < end:
            end = self._end(_RUN, start)
            cut = _NEXT_FIELD.search(self.text, start, end)
            end = cut.start() if cut else end
            self.last_value = start, end
        return end

    def _in_element(self, field: Field) -> Span | None:
        """Return the span of an XML element's content if its tag or attribute names a secret."""
        end = self.text.index("<", field.value_start)
        content = self.text[field.value_start : end]
        before = self.text[max(0, field.start - 24) : field.start]
        is_named = stands_out(content) and (before.endswith(">") or bool(_ATTRIBUTE.search(before)))
        if not (before.endswith("<") or is_named) or is_placeholder(content):
            return None
        return None if _BREAKS.search(content) else Span(field.value_start, end)

    def value(self, field: Field) -> Span | None:
        """Return the span of the field's value, quoted or not, if it is a secret."""
        text, name = self.text, field.name.lower()
        if triple := _TRIPLE.match(text, field.value_start):
            field = field._replace(value_start=triple.end())
        opening = OPENING_QUOTE.match(text, field.value_start)
        if not opening and field.sep in ":=" and not field.on_next_line:
            if "cookie" in name and field.sep == ":":
                pair = _COOKIE.match(text, field.value_start)
                if pair and name.startswith("set") and text[pair.end() : pair.end() + 1] == ";":
                    return None  # the header deletes a cookie
                return self._header(field, field.value_start) if pair else None
            if "authorization" in name:
                if _WITH_NAMES.match(text, field.value_start):
                    return None
                scheme = _SCHEME.match(text, field.value_start)
                if not scheme and not _CREDENTIALS.match(text, field.value_start):
                    return None  # prose, as in "Authorization: see section 4"
                return self._header(field, scheme.end() if scheme else field.value_start)
        if not opening:
            return self._unquoted(field, field.value_start)
        quote = opening["slashes"] + opening["quote"]
        if not field.quote and text.startswith(quote, max(0, field.start - len(quote))):
            return None  # the quote closes the string that contains the name
        if field.on_next_line and not field.quote and field.sep != ":":
            return None
        start, end = opening.end(), end_of_quoted(text, opening, self.in_json)
        if end is None and field.sep == "=" and field.name.isupper() and not field.is_spaced:
            lines = (
                _IN_LINES.match(text, opening.end())
                if is_at_line_start(text, field.start)
                else None
            )
            end = lines.end() if lines and text.startswith(quote, lines.end()) else None
        if end is None:
            return self._unquoted(field, start, unclosed=True)
        scheme = _SCHEME.match(text, start, end)
        if scheme and scheme.end() < end:
            start = scheme.end()
        in_json = self.in_json or opening["slashes"]
        if (
            in_json
            and not is_same_quote(opening, field.quote)
            and ENDS_JSON.match(text, opening.end())
        ):
            return None  # the quote closes the JSON string that contains the name
        if is_quoted_secret(field, text[start:end], opening["quote"]):
            return Span(start, end)
        return None

    def _header(self, field: Field, start: int) -> Span | None:
        """Return the span of a header's value, up to the end of the line, if it is a secret."""
        text, end = self.text, self._end(_HEADER_END, start)
        value = text[start : min(end, start + _TESTED)].rstrip()
        if not value or is_placeholder(value) or is_code(value) or value.endswith(("(", "{", "[")):
            return None
        if not (is_at_line_start(text, field.start) or stands_out(value)):
            return None
        if field.quote or is_variable_name(value.rstrip(",;)")):
            return None
        if value.isalpha() and len(value) < 12:
            return None
        if value.startswith(("$", "{", "<", "[", "realm=")) and " " not in value:
            return None
        return Span(start, max(end, start + len(value)))

    def _unquoted(self, field: Field, start: int, unclosed: bool = False) -> Span | None:
        """Return the span of a value that lacks quotes or a closing quote, if it is a secret."""
        text, end = self.text, self._field_end(start)
        value = text[start : min(end, start + _TESTED)]
        block = _BLOCK.match(text, start) if field.sep == ":" else None
        if block:
            return self._unquoted(field._replace(on_next_line=True), block.end())
        is_setting = field.sep == "=" and field.name.isupper() and not field.is_spaced
        if is_setting and text.startswith("&", end) and is_at_line_start(text, field.start):
            end = self._end(_RUN, start)
            value = text[start : min(end, start + _TESTED)]
        if not unclosed and opens_expression(field, value):
            return None
        scalar = _JSON_SCALAR.match(text, start) if field.quote else None
        if scalar:
            least = 4 if is_password_name(field.name) else 8
            is_long = len(scalar["number"] or "") >= least
            return Span(start, scalar.end(), field.quote) if is_long else None
        whole = value
        if end - start <= _TESTED:
            value = strip_end(value)
            end = start + len(value)
        if not value:
            return None
        if unclosed:
            return None if is_placeholder(value) or is_code(value) else Span(start, end)
        sure = is_unquoted_secret(field, text, value, whole, end)
        return Span(start, end) if sure else None
