"""Share one rendering among all requests for the same HTML, which many open tabs poll for."""

from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from weakref import WeakValueDictionary

from django.core.cache import cache

LIFETIME = 2  # seconds; by then, every open tab has polled again

_locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()  # those in use, by key


def shared(key: tuple[object, ...], render: Callable[[], str]) -> str:
    """Return the HTML for the key. Other requests for it wait while the first one renders it.

    The key must contain everything that the HTML depends on, including the state of the store,
    so that no request gets HTML from before it was made, and the user's permissions.
    """
    name = blake2b(repr(key).encode(), digest_size=16).hexdigest()
    with _locks.setdefault(name, Lock()):
        return str(cache.get_or_set(name, render, LIFETIME))
