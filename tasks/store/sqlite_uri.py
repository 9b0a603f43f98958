"""The URI for an SQLite file that this user cannot write."""

from pathlib import Path


def read_only_uri(file: Path) -> str:
    """Return the URI to open the file with, valid until a writer opens or closes it.

    A read-only connection cannot create a -wal file, so without one SQLite must be told that the
    file does not change. With one it must not be told so, or it would miss new writes.
    """
    is_written = file.with_name(f"{file.name}-wal").exists()
    return f"{file.absolute().as_uri()}?mode=ro" + ("" if is_written else "&immutable=1")
