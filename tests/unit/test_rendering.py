"""Tests that untrusted text is rendered as safe HTML."""

import pytest
from django.template import Context, Template
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.transcript import rendering, terminal
from tasks.transcript.invisible import INVISIBLE
from tasks.transcript.rendering import MARKDOWN_LENGTH, Budget
from tests.support.markup import PAYLOADS, Markup

ALLOWED = {
    "a": {"href", "rel"},
    "p": {"class"},
    "ol": {"start"},
    "span": {"class"},
    "pre": {"class"},
}


def assert_harmless(html: str) -> None:
    for tag, attributes in Markup(html).elements:
        assert tag in rendering._TAGS
        assert attributes.keys() <= ALLOWED.get(tag, set())
        if tag == "a" and "href" in attributes:
            assert str(attributes["href"]).lower().startswith(("http://", "https://", "mailto:"))
            assert attributes["rel"] == "noopener noreferrer"
    assert not INVISIBLE.search("".join(Markup(html).texts).replace("\n", ""))


def everything(text: str) -> list[str]:
    """Render the text with every renderer, and return all results."""
    return [
        rendering.plain(text),
        rendering.output(terminal.replay(text)),
        rendering.markdown(text, Budget()),
        rendering.markdown(text, Budget(0)),
        *(rendering.code(text, name, Budget()) for name in ("python", "html", "bash", "")),
    ]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_is_harmless(payload: str):
    for html in everything(payload):
        assert_harmless(html)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_text_is_harmless(text: str):
    for html in everything(text):
        assert_harmless(html)


@given(st.lists(st.sampled_from([*PAYLOADS, "[", "](", ")", "<", ">", "`", '"', "\n", "*", "|"])))
@example(["[", "![x](http://evil.example/a.png)", "](", "javascript:x", ")"])
@settings(deadline=None)
def test_any_mixture_is_harmless(pieces: list[str]):
    for html in everything("".join(pieces)):
        assert_harmless(html)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs"])))
def test_plain_text_is_unchanged(text: str):
    assert "".join(Markup(rendering.plain(text)).texts) == text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**a** `b`", "<p><strong>a</strong> <code>b</code></p>\n"),
        ("a\nb", "<p>a<br>\nb</p>\n"),
        (
            "[a](https://b.example/)",
            '<p><a href="https://b.example/" rel="noopener noreferrer">a</a></p>\n',
        ),
        ("![a](http://b/c)", '<p><span class="picture">image a http://b/c</span></p>\n'),
        ("![a](c.png)", "<p>![a](c.png)</p>\n"),
        ("<b>", "<p>&lt;b&gt;</p>\n"),
        ("## a", '<p class="h2">a</p>\n'),
        ("- a", "<ul>\n<li>a</li>\n</ul>\n"),
        (
            "```py\nimport a\n```",
            '<pre class="code"><code><span class="h-keyword">import</span> a</code></pre>\n',
        ),
        ("|a|\n|-:|\n|b|", None),
    ],
)
def test_markdown_is_rendered(text: str, html: str | None):
    rendered = rendering.markdown(text, Budget())

    assert rendered == html if html else '<td class="right">b</td>' in rendered


@pytest.mark.parametrize(
    "text",
    [
        "x" * (MARKDOWN_LENGTH + 1),
        "[" * 1_001,
        "|a" * 51 + "\n" + "|-" * 51 + "\na" * 99,
        ">" * 900 + "*x*",
        "- " * 40 + "x",
    ],
)
def test_expensive_markdown_is_plain(text: str):
    assert rendering.markdown(text, Budget()) == f'<p class="text">{rendering.plain(text)}</p>'


def test_markdown_without_a_budget_is_plain():
    assert rendering.markdown("*a*", Budget(0)) == '<p class="text">*a*</p>'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a\u202eb", 'a<span class="unseen">U+202E</span>b'),
        ("a\u200b\u200b\u200bb", 'a<span class="unseen">U+200B \u00d7 3</span>b'),
        ("\0", '<span class="unseen">U+0000</span>'),
        ("\x1b", '<span class="unseen">ESC</span>'),
        ("\U000e0041", '<span class="unseen">U+E0041</span>'),
        ("a\tb\nc", "a\tb\nc"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
        ("a\u200db", 'a<span class="unseen">U+200D</span>b'),
        ("[IMAGE:/a.png]", '<span class="picture">[IMAGE:/a.png]</span>'),
        ("\"'", "\"'"),
    ],
)
def test_invisible_characters_are_marked(text: str, html: str):
    assert rendering.plain(text) == html


def test_html_is_bounded():
    unseen = rendering.plain("\u200b\u200c" * 10_000)
    colors = rendering.output("\x1b[31ma\x1b[32mb" * 10_000)

    assert len(unseen) < 100_000
    assert colors.count("<span") == rendering._MAX_SPANS


def test_texts_of_a_page_share_a_budget():
    template = Template("{% load rendering %}{% rendered text 'markdown' %}")

    class Request:
        rendering_budget = Budget(0)

    with_budget = template.render(Context({"text": "*a*"}))
    without = template.render(Context({"text": "*a*", "request": Request()}))

    assert (with_budget, without) == ("<p><em>a</em></p>\n", '<p class="text">*a*</p>')
    assert Request.rendering_budget.left <= 0


def test_markdown_spends_the_budget():
    budget = Budget()
    rendering.markdown("*a* " * 2_000, budget)

    assert budget.left < 1
