"""Creates the first administrator account and one-time sign-in links."""

from itertools import chain, count

from django.contrib.auth.models import User
from django.urls import reverse
from sesame.utils import get_query_string


def administrator() -> User:
    """Return the first active superuser; create one without a password if there is none."""
    users = User.objects
    if admin := users.filter(is_superuser=True, is_active=True).order_by("pk").first():
        return admin
    taken = set(users.values_list("username", flat=True))
    names = chain(["admin"], (f"admin-{number}" for number in count(1)))
    return users.create_superuser(next(name for name in names if name not in taken))


def sign_in_link(user: User, server: str) -> str:
    """Return a URL that signs the user in once and expires after `SESAME_MAX_AGE` seconds."""
    return f"{server.rstrip('/')}{reverse('sign-in-link')}{get_query_string(user)}"
