"""Helpers that confirm a clearing as a user would, by submitting the confirmation form."""

from typing import Any

from django.test import Client
from django.urls import reverse

from archive.models import Clearing
from tasks.addresses import thread_url


def form_of(page: Any, **fields: str) -> dict[str, str]:
    """Return the hidden fields of the form on a confirmation page, plus `fields`."""
    confirmation = page.context["confirmation"]
    signed = {"seen": confirmation.signed} if confirmation.only else {}
    return {"version": confirmation.version, **signed, **fields}


def clear_thread(client: Client, thread_id: str = "telegram_42", **fields: str) -> Any:
    """Open the page that confirms clearing a thread, submit its form, and return the response."""
    address = thread_url("clear", thread_id)
    return client.post(address, form_of(client.get(address), **{"with_running": "on"} | fields))


def confirm(client: Client, redirect: Any, **fields: str) -> Clearing:
    """Confirm the draft clearing that `redirect` leads to, and continue until it is finished."""
    page = client.get(redirect["Location"])
    clearing = Clearing.objects.latest("pk")
    client.post(reverse("clearing-confirm", args=[clearing.pk]), form_of(page, **fields))
    clearing.refresh_from_db()
    while clearing.stage == "running":
        client.post(reverse("clearing-go-on", args=[clearing.pk]))
        clearing.refresh_from_db()
    return clearing
