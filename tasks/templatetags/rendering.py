"""Texts of messages and tool calls as HTML, see `tasks.transcript.rendering`."""

from django import template
from django.utils.safestring import SafeString

from tasks.transcript import rendering
from tasks.transcript.rendering import Budget

register = template.Library()


@register.simple_tag(takes_context=True)
def rendered(
    context: template.Context, text: str, form: str = "", language: str = ""
) -> SafeString:
    """A text as "markdown", "output" or "code", or plain."""
    if form == "markdown":
        return rendering.markdown(text, _budget(context))
    if form == "code" and language:
        return rendering.code(text, language, _budget(context))
    return rendering.output(text) if form == "output" else rendering.plain(text)


def _budget(context: template.Context) -> Budget:
    """One for the page, kept with its request; a new one where there is none."""
    request = context.get("request")
    budget: Budget = getattr(request, "rendering_budget", None) or Budget()
    if request is not None:
        request.rendering_budget = budget
    return budget
