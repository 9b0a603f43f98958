"""Share a rendering among all requests for the same HTML, which many open tabs poll for."""

from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from weakref import WeakValueDictionary

from django.core.cache import cache, caches

from tasks.transcript import time_zones

LIFETIME = 2  # seconds; by then, every open tab has polled again

_locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()  # those in use, by key


def shared(key: tuple[object, ...], render: Callable[[], str]) -> str:
    """Return the HTML for the key. Other requests for it wait while the first one renders it.

    The key must contain everything that the HTML depends on, including the state of the store,
    so that no request gets HTML from before it was made, and the user's permissions. The active
    time zone is added to it.
    """
    name = _name(key)
    with _locks.setdefault(name, Lock()):
        return str(cache.get_or_set(name, render, LIFETIME))


def shared_parts(
    keys: list[tuple[object, ...]], render: Callable[[list[int]], list[str]]
) -> list[str]:
    """Return the HTML of parts of many pages, such as rows, for keys as those of `shared`.

    `render` is given the positions of those that were not rendered before. Secrets must be masked
    in their HTML, since it stays in memory.
    """
    names = [_name(key) for key in keys]
    parts = caches["parts"].get_many(names)
    if missing := [position for position, name in enumerate(names) if name not in parts]:
        new = dict(zip([names[position] for position in missing], render(missing), strict=True))
        caches["parts"].set_many(new, None)
        parts |= new
    return [str(parts[name]) for name in names]


def _name(key: tuple[object, ...]) -> str:
    full_key = (time_zones.active_name(), *key)
    return blake2b(repr(full_key).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
