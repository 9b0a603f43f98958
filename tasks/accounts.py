"""The first administrator, and links that sign a person in once."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.urls import reverse
from sesame.utils import get_query_string


def administrator() -> AbstractUser:
    """An active superuser, made without a password where there is none."""
    users = get_user_model().objects
    found = users.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if found is not None:
        return found
    name = "admin"
    while users.filter(username=name).exists():
        name += "-1"
    user: AbstractUser = users.create_superuser(name)
    return user


def sign_in_link(user: AbstractUser, server: str) -> str:
    """An address that signs the user in once; it is good for `SESAME_MAX_AGE` seconds."""
    return f"{server.rstrip('/')}{reverse('sign-in-link')}{get_query_string(user)}"
