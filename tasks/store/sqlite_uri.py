"""Build the URIs with which SQLite opens files."""

from pathlib import Path


def existing_uri(file: Path) -> str:
    """Return a URI with which SQLite opens the file only if it exists, instead of creating it."""
    return f"{file.absolute().as_uri()}?mode=rw"


def read_only_uri(file: Path) -> str:
    """Return a read-only URI for the file, valid until a writer opens or closes the file.

    A read-only connection cannot create a -wal file, so if there is none, the URI must declare the
    database immutable. If there is a -wal file, it must not, or SQLite would miss new writes.
    """
    is_written = file.with_name(f"{file.name}-wal").exists()
    return f"{file.absolute().as_uri()}?mode=ro" + ("" if is_written else "&immutable=1")
