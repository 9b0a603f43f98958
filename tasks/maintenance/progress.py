"""A progress bar for commands, shown only on a terminal."""

import time

from django.core.management.base import OutputWrapper

from tasks.escaping import one_line

BAR_WIDTH = 30  # characters
INTERVAL = 0.1  # seconds between redraws


class Progress:
    """Draws the progress bar, writes messages above it, and counts failures."""

    def __init__(self, stream: OutputWrapper, total: int | None = None):
        self.failures = 0
        self._stream, self._total = stream, total
        self._is_terminal = stream.isatty()
        self._drawn_at = 0.0

    def show(self, done: int, text: str) -> None:
        """Draw the text, with the progress bar before it if the total is known."""
        now = time.monotonic()
        if self._is_terminal and now - self._drawn_at >= INTERVAL:
            self._drawn_at = now
            part = min(done / self._total, 1) if self._total else 0
            bar = f"[{'#' * int(part * BAR_WIDTH):{BAR_WIDTH}}] {part:4.0%} "
            self._draw(f"{bar if self._total else ''}{text}")

    def failed(self, message: str) -> None:
        self.failures += 1
        self.warn(message)

    def warn(self, message: str) -> None:
        if message:
            self.clear()
            self._stream.write(one_line(message))

    def clear(self) -> None:
        if self._drawn_at:
            self._draw("")

    def _draw(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}", style_func=str, ending="")
        self._stream.flush()
