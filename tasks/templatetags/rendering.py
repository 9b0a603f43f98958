"""A template tag that renders text as HTML; see `tasks.transcript.rendering`."""

from django import template
from django.utils.safestring import SafeString

from tasks.transcript import rendering
from tasks.transcript.rendering import Budget

register = template.Library()


@register.simple_tag(takes_context=True)
def rendered(
    context: template.Context, text: str, form: str = "", language: str = ""
) -> SafeString:
    """Render text in the given form: "markdown", "output", "code", or "" for plain text."""
    if form == "markdown":
        return rendering.markdown(text, _budget(context))
    if form == "code" and language:
        return rendering.code(text, language, _budget(context))
    return rendering.output(text) if form == "output" else rendering.plain(text)


def _budget(context: template.Context) -> Budget:
    """Return the page's rendering budget, which is kept on the request if the context has one."""
    request = context.get("request")
    budget: Budget = getattr(request, "rendering_budget", None) or Budget()
    if request is not None:
        request.rendering_budget = budget
    return budget
