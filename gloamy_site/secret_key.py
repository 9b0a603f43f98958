"""Provides the secret key that signs sessions and sign-in links."""

import contextlib
import os
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key


def secret_key(file: Path) -> str:
    """Return SECRET_KEY from the environment, or from a private file created on first use."""
    if key := os.environ.get("SECRET_KEY"):
        return key
    try:
        if not file.exists():
            _write_once(file, get_random_secret_key())
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)
        key = file.read_text()
    except OSError as error:
        raise ImproperlyConfigured(f"{file}: {error.strerror}. Set SECRET_KEY instead.") from None
    if not key:
        raise ImproperlyConfigured(f"{file} is empty; delete it to have a new one created.")
    return key


def _write_once(file: Path, text: str) -> None:
    """Create a private file atomically, unless another process has just created it."""
    handle, new = tempfile.mkstemp(dir=file.parent)  # mode 0600
    with open(handle, "w") as file_object:
        file_object.write(text)
    with contextlib.suppress(FileExistsError):
        os.link(new, file)
    os.unlink(new)
