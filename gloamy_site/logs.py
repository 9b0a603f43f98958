"""What the server logs, so that no text of somebody else forges a line or commands a terminal."""

import logging

from tasks.printed import lines, one_line

LONGEST_REFUSAL = 500  # characters; a visitor chooses what is in it


def without_traceback(record: logging.LogRecord) -> bool:
    """For a handler: what Django refuses a visitor takes one short line, not a traceback."""
    if record.name.startswith("django.security."):
        record.msg, record.args = record.getMessage()[:LONGEST_REFUSAL], ()
        record.exc_info = record.exc_text = None
    return True


class Formatter(logging.Formatter):
    """A record takes one line; what a traceback has besides is indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"  {line}" for line in lines(text))
