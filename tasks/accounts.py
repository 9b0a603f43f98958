"""The first administrator, and links that sign a person in once."""

from django.contrib.auth.models import User
from django.urls import reverse
from sesame.utils import get_query_string


def administrator() -> User:
    """An active superuser, made without a password where there is none."""
    users = User.objects
    found = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if found is not None:
        return found
    name = "admin"
    while users.filter(username=name).exists():
        name += "-1"
    return users.create_superuser(name)


def sign_in_link(user: User, server: str) -> str:
    """An address that signs the user in once; it is good for `SESAME_MAX_AGE` seconds."""
    return f"{server.rstrip('/')}{reverse('sign-in-link')}{get_query_string(user)}"
