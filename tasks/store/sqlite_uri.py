"""How SQLite opens a file that this user cannot write."""

from pathlib import Path


def read_only_address(file: Path) -> str:
    """The URI to open the file with, right for as long as nobody begins or ends writing to it.

    Without a -wal file nobody is writing, and SQLite, which would make one, has to be told that
    the file does not change. With one it must not be told so, or it would pass by what is new.
    """
    is_written = file.with_name(f"{file.name}-wal").exists()
    return f"{file.absolute().as_uri()}?mode=ro" + ("" if is_written else "&immutable=1")
