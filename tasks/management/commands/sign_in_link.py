from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tasks.accounts import sign_in_link

DEFAULT_SERVER = "http://127.0.0.1:8765"


class Command(BaseCommand):
    help = "Print a link that signs a person in once, within a few minutes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", default="admin")
        parser.add_argument("--server", default=DEFAULT_SERVER, help=f"({DEFAULT_SERVER})")

    def handle(self, *args: Any, **options: Any) -> None:
        users = User.objects.filter(is_active=True)
        user = users.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no active user {options['username']}.")
        self.stdout.write(sign_in_link(user, options["server"]))
