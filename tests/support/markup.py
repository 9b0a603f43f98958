"""Small attack payloads for code that renders text, and a parser for the resulting HTML."""

from html.parser import HTMLParser

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil.example/a.png)",
    "![x](javascript:alert(1))",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    "[x](//evil.example)",
    "[x](/thread/clear/?id=1)",
    "[x](file:///etc/passwd)",
    "<javascript:alert(1)>",
    "[x](http://a \"onmouseover='alert(1)'\")",
    '[x](http://a"onmouseover=alert(1)//)',
    "[x]: javascript:alert(1)\n\n[x]",
    '```"><script>\n</code></pre><script>alert(1)</script>\n```',
    "```python onload=x\nx\n```",
    "`<b>`",
    "    <script>",
    "<a href='javascript:x'>",
    "<svg/onload=alert(1)>",
    "<style>*{display:none}</style>",
    "<!-- x --><![CDATA[<script>]]>",
    "&lt;script&gt;&#60;script&#62;",
    "|<script>|\n|-|\n|<img src=x>|",
    "\x00<scr\x00ipt>",
    "\u202e<script>",
    '[IMAGE:"><script>alert(1)</script>]',
    "\x1b[31m<script>\x1b[0m",
    "\x1b]8;;javascript:alert(1)\x1b\\<b>x</b>",
]


class Markup(HTMLParser):
    """Parses HTML into elements and text. The HTML must not contain comments or declarations."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)
