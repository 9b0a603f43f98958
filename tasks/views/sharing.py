"""Share a rendering among all requests for the same HTML, which many open tabs poll for."""

from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from weakref import WeakValueDictionary

from django.core.cache import cache, caches

LIFETIME = 2  # seconds; by then, every open tab has polled again

_locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()  # those in use, by key


def shared(key: tuple[object, ...], render: Callable[[], str]) -> str:
    """Return the HTML for the key. Other requests for it wait while the first one renders it.

    The key must contain everything that the HTML depends on, including the state of the store,
    so that no request gets HTML from before it was made, and the user's permissions.
    """
    name = _name(key)
    with _locks.setdefault(name, Lock()):
        return str(cache.get_or_set(name, render, LIFETIME))


def rendered_once(key: tuple[object, ...], render: Callable[[], str]) -> str:
    """Return the HTML of a part of many pages, such as a row, as it was rendered before if it was.

    The key must contain everything that the HTML depends on. Secrets must be masked in the HTML,
    since it stays in memory.
    """
    return str(caches["parts"].get_or_set(_name(key), render, None))


def _name(key: tuple[object, ...]) -> str:
    return blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
