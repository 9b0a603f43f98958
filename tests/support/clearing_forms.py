"""Confirming a clearing as a person does: with what the page's form holds."""

from typing import Any

from django.test import Client
from django.urls import reverse

from archive.models import Clearing
from tasks.addresses import thread_url


def form_of(page: Any, **more: str) -> dict[str, str]:
    """The fields of the form on a page that asks, and what a person enters."""
    confirmation = page.context["confirmation"]
    seen = {"seen": confirmation.signed} if confirmation.only else {}
    return {"version": confirmation.version, **seen, **more}


def clear_thread(client: Client, thread_id: str = "telegram_42", **more: str) -> Any:
    """Open the page that asks for one thread, and send its form."""
    address = thread_url("clear", thread_id)
    return client.post(address, form_of(client.get(address), **{"with_running": "on"} | more))


def confirm(client: Client, asked: Any, **more: str) -> Clearing:
    """Follow to the page that asks for many threads, send its form, and go on to the end."""
    page = client.get(asked["Location"])
    client.post(f"{asked['Location']}confirm/", form_of(page, **more))
    clearing = Clearing.objects.latest("pk")
    while clearing.stage == "running":
        client.post(reverse("clearing-go-on", args=[clearing.pk]))
        clearing.refresh_from_db()
    return clearing
