"""The first administrator, and links that sign a person in once."""

from itertools import chain, count

from django.contrib.auth.models import User
from django.urls import reverse
from sesame.utils import get_query_string


def administrator() -> User:
    """An active superuser, made without a password where there is none."""
    users = User.objects
    found = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if found is not None:
        return found
    taken = set(users.values_list("username", flat=True))
    names = chain(["admin"], (f"admin-{number}" for number in count(1)))
    return users.create_superuser(next(name for name in names if name not in taken))


def sign_in_link(user: User, server: str) -> str:
    """An address that signs the user in once; it is good for `SESAME_MAX_AGE` seconds."""
    return f"{server.rstrip('/')}{reverse('sign-in-link')}{get_query_string(user)}"
