from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from gloamy_site.sign_in.links import administrator, sign_in_link

DEFAULT_SERVER = settings.SITE_URL or "http://127.0.0.1:8765"


class Command(BaseCommand):
    help = "Print a link that signs a person in once, within a few minutes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", help="(the first administrator)")
        parser.add_argument("--server", default=DEFAULT_SERVER, help=f"({DEFAULT_SERVER})")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = self.user(options["username"])
        except DatabaseError as error:
            raise CommandError(f"Run `migrate` or `serve` first: {error}.") from error
        self.stdout.write(sign_in_link(user, options["server"]))

    def user(self, username: str | None) -> User:
        if username is None:
            return administrator()
        user = User.objects.filter(is_active=True, username=username).first()
        if user is None:
            raise CommandError(f"There is no active user {username}.")
        return user
