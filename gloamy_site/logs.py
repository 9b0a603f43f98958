"""Log formatting that keeps untrusted text from forging lines or controlling a terminal."""

import logging

from tasks.escaping import one_line

MAX_MESSAGE_LENGTH = 500  # characters; Django logs URLs and hosts that visitors choose


def truncate(record: logging.LogRecord) -> bool:
    """Truncate Django's messages, and drop the tracebacks that any visitor can provoke.

    This is a logging filter that keeps every record.
    """
    if record.name.startswith("django."):
        record.msg, record.args = record.getMessage()[:MAX_MESSAGE_LENGTH], ()
    if record.name.startswith("django.security."):
        record.exc_info = record.exc_text = None
    return True


class Formatter(logging.Formatter):
    """Formats each record as one line, followed by its indented traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"  {one_line(line)}" for line in text.split("\n"))
