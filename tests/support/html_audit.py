"""Checks that all HTML on a page was written by our templates and not by untrusted text."""

import re
from html.parser import HTMLParser
from typing import Any

from tasks.transcript import invisible

# All elements and attributes that our code generates. Any others come from hostile text.

SITE_TAGS = {
    *("html", "head", "meta", "title", "link", "script", "body", "header", "nav", "main", "aside"),
    *("section", "article", "div", "p", "span", "a", "b", "i", "h1", "h2", "h3", "h4", "code"),
    *("pre", "kbd", "mark", "del", "time", "ul", "ol", "li", "dl", "dt", "dd", "table", "thead"),
    *("tbody", "tr", "th", "td", "form", "fieldset", "legend", "label", "input", "select"),
    *("option", "button", "progress", "details", "summary", "dialog", "br"),
    *("svg", "symbol", "path", "use", "g", "rect", "line", "text"),
}
MARKDOWN_TAGS = {"hr", "blockquote", "strong", "em", "s"}
ADMIN_TAGS = {"bdi", "caption", "footer", "h5", "img", "small", "search", "style"}
ATTRIBUTES = {
    *("class", "id", "href", "rel", "title", "lang", "charset", "name", "content", "src", "defer"),
    *("role", "hidden", "tabindex", "colspan", "scope", "datetime", "open", "start", "for", "type"),
    *("value", "checked", "selected", "disabled", "autofocus", "autocomplete", "placeholder"),
    *("maxlength", "spellcheck", "inputmode", "step", "method", "action", "form", "max"),
    *("autocapitalize", "required"),
    *("x", "y", "x1", "x2", "y1", "y2", "dx", "rx", "width", "height", "text-anchor", "xmlns"),
    *("viewbox", "fill", "d", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin"),
    "preserveaspectratio",
    *(f"aria-{name}" for name in ("current", "describedby", "hidden", "label", "labelledby")),
    *("aria-sort", "aria-invalid"),
    *(f"data-{name}" for name in ("attempt", "copy", "elapsed", "ended", "failures")),
    *(
        f"data-{name}"
        for name in ("first", "hit", "hits", "latest", "live", "on", "open", "part", "place")
    ),
    *(f"data-{name}" for name in ("poll", "query", "step", "step-url", "tag", "text", "url")),
    *(f"hx-{name}" for name in ("ext", "get", "post", "swap", "swap-oob", "sync", "target")),
    *("dir", "hx-disabled-elt", "hx-trigger"),
}
ADMIN_ATTRIBUTES = {
    *("action", "alt", "data-admin-utc-offset", "data-model-name", "data-ready", "enctype"),
    *("novalidate", "data-popup-opener", "data-filter-title", "size", "data-actions-icnt"),
    *("min", "aria-disabled", "aria-selected", "aria-controls", "data-context", "multiple"),
    *("xlink:href", "async", "data-prepopulated-fields", "data-model-ref", "data-field-name"),
    *("data-is-stacked", "data-popup"),
}
ADMIN_COMMENTS = {
    *(" Container ", " END Container ", " Header ", " END Header ", " Breadcrumbs "),
    *(" END Breadcrumbs ", " Content ", " END Content ", " SVGs ", " END SVGs "),
    " DIV needed for valid HTML ",
}
ADDRESSES = {"href", "src", "action", "formaction", "hx-get", "hx-post"}
EXACT = {"value", "data-text", "data-query", "datetime"}  # attributes sent or copied verbatim
LOCAL = re.compile(r"(?:/(?![/\\])|\?|#|\.\./password/$|$)")  # ../password/ is Django's link
REMOTE = re.compile(r"https?://|mailto:", re.IGNORECASE)
INVISIBLE = re.compile(rf"(?!\r\n)(?:{invisible.INVISIBLE.pattern})")


class HtmlAudit(HTMLParser):
    """Parses HTML and collects in `problems` everything that our templates would never generate."""

    def __init__(self, html: str, *, is_admin: bool = False) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self._open = ""
        self._tags = SITE_TAGS | MARKDOWN_TAGS | (ADMIN_TAGS if is_admin else set())
        self._comments = ADMIN_COMMENTS if is_admin else set()
        self._attributes = ATTRIBUTES | (ADMIN_ATTRIBUTES if is_admin else set())
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        attributes = dict(attrs)
        if tag not in self._tags or len(attributes) < len(attrs):
            self._wrong(tag, attrs)
        for name, value in attributes.items():
            if name not in self._attributes:
                self._wrong(tag, name, value)
            if name in ADDRESSES and not self._is_good(tag, name, str(value), attributes):
                self._wrong(tag, name, value)
            if name not in EXACT:
                self._look(str(value), tag, name)

    def _is_good(self, tag: str, name: str, address: str, attrs: dict[str, str | None]) -> bool:
        if LOCAL.match(address):
            return True
        is_link = (tag, name) == ("a", "href") and attrs.get("rel") == "noopener noreferrer"
        return is_link and REMOTE.match(address) is not None

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self._wrong(self._open, data)
        self._look(data, "text")

    def handle_comment(self, data: str) -> None:
        if data not in self._comments:
            self._wrong("comment", data)

    def handle_pi(self, data: str) -> None:
        self._wrong("instruction", data)

    def unknown_decl(self, data: str) -> None:
        self._wrong("declaration", data)

    def handle_decl(self, decl: str) -> None:
        if decl.lower() != "doctype html":
            self._wrong("declaration", decl)

    def _look(self, text: str, *where: str) -> None:
        if match := INVISIBLE.search(text):
            self._wrong("unseen", hex(ord(match[0])), *where, text[:80])

    def _wrong(self, *what: Any) -> None:
        self.problems.append(repr(what)[:300])
