from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from gloamy_site.sign_in.links import administrator, sign_in_link
from tasks.management import base
from tasks.store import workspace

DEFAULT_SERVER = settings.SITE_URL or "http://127.0.0.1:8765"


class Command(base.Command):
    help = "Print a one-time sign-in link, valid for a few minutes."
    requires = (workspace.require_site,)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", help="(default: the first administrator)")
        parser.add_argument("--server", default=DEFAULT_SERVER, help=f"(default: {DEFAULT_SERVER})")

    def handle(self, *args: Any, **options: Any) -> None:
        user = self.user(options["username"])
        self.stdout.write(sign_in_link(user, options["server"]))

    def user(self, username: str | None) -> User:
        if username is None:
            return administrator()
        user = User.objects.filter(is_active=True, username=username).first()
        if user is None:
            raise CommandError(f"There is no active user {username}.")
        return user
