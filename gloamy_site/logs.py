"""What the server logs, so that no text of somebody else forges a line or commands a terminal."""

import logging

from tasks.escaping import lines, one_line

LONGEST_OF_VISITOR = 500  # characters of a line in which a visitor chooses an address or a host


def keep_short(record: logging.LogRecord) -> bool:
    """For a handler, as a filter that drops nothing: Django's lines are cut.

    What Django refuses a visitor as suspicious has no traceback: anybody can make those.
    """
    if record.name.startswith("django."):
        record.msg, record.args = record.getMessage()[:LONGEST_OF_VISITOR], ()
    if record.name.startswith("django.security."):
        record.exc_info = record.exc_text = None
    return True


class Formatter(logging.Formatter):
    """A record takes one line; what a traceback has besides is indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"  {line}" for line in lines(text))
