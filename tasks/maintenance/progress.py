"""How far long work is: on a terminal a line that changes, and elsewhere nothing."""

import time

from django.core.management.base import OutputWrapper

from tasks.escaping import one_line

WIDTH = 30  # characters of the bar
INTERVAL = 0.1  # seconds between two pictures of it


class Progress:
    """Shows a bar, and in between what was left out and why; counts the latter."""

    def __init__(self, stream: OutputWrapper, total: int | None = None):
        self.stream, self.total = stream, total
        self.is_shown = stream.isatty()
        self.shown_at = 0.0
        self.failures = 0

    def show(self, done: int, name: str) -> None:
        """`done` is of `total`; where that is unknown, only the number is shown."""
        if not self.is_shown or time.monotonic() - self.shown_at < INTERVAL:
            return
        self.shown_at = time.monotonic()
        self._write(f"\r\x1b[K{self._bar(done)}{name}")

    def failed(self, message: str) -> None:
        """Say that something was left out."""
        self.failures += 1
        self.warn(message)

    def warn(self, message: str) -> None:
        if message:
            self.clear()
            self.stream.write(one_line(message))

    def clear(self) -> None:
        if self.is_shown and self.shown_at:
            self._write("\r\x1b[K")

    def _bar(self, done: int) -> str:
        if not self.total:
            return ""
        part = min(done / self.total, 1)
        return f"[{'#' * int(part * WIDTH):{WIDTH}}] {part:4.0%} "

    def _write(self, text: str) -> None:
        self.stream.write(text, style_func=str, ending="")
        self.stream.flush()
