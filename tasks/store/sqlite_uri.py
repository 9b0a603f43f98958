"""The URI for an SQLite file that this user cannot write to."""

from pathlib import Path


def read_only_uri(file: Path) -> str:
    """Return the URI to open the file with, valid until a writer opens or closes the file.

    A read-only connection cannot create a -wal file, so if there is none, SQLite must be told that
    the file is immutable. If there is one, it must not be told that, or it would miss new writes.
    """
    is_written = file.with_name(f"{file.name}-wal").exists()
    return f"{file.absolute().as_uri()}?mode=ro" + ("" if is_written else "&immutable=1")
