"""Formats log records so that untrusted text cannot forge lines or control a terminal."""

import logging

from tasks.escaping import one_line

MAX_MESSAGE_LENGTH = 500  # characters; Django logs URLs and host names that visitors send


def truncate(record: logging.LogRecord) -> bool:
    """Truncate Django's log messages, and drop tracebacks that any visitor can trigger.

    This is a logging filter that returns True, so that every record is logged.
    """
    if record.name.startswith("django."):
        record.msg, record.args = record.getMessage()[:MAX_MESSAGE_LENGTH], ()
    if record.name.startswith("django.security."):
        record.exc_info = record.exc_text = None
    return True


class Formatter(logging.Formatter):
    """Formats each log record as one line, followed by an indented traceback if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"  {one_line(line)}" for line in text.split("\n"))
