"""Helpers that confirm clearings as a person would, with the fields of the page's form."""

from typing import Any

from django.test import Client
from django.urls import reverse

from archive.models import Clearing
from tasks.addresses import thread_url


def form_of(page: Any, **more: str) -> dict[str, str]:
    """Return the hidden fields of a confirmation page's form, plus the fields in `more`."""
    confirmation = page.context["confirmation"]
    seen = {"seen": confirmation.signed} if confirmation.only else {}
    return {"version": confirmation.version, **seen, **more}


def clear_thread(client: Client, thread_id: str = "telegram_42", **more: str) -> Any:
    """Open the confirmation page for a thread, and submit its form."""
    address = thread_url("clear", thread_id)
    return client.post(address, form_of(client.get(address), **{"with_running": "on"} | more))


def confirm(client: Client, redirect: Any, **more: str) -> Clearing:
    """Follow the redirect to a draft's page, submit its form, and continue to the end."""
    page = client.get(redirect["Location"])
    client.post(f"{redirect['Location']}confirm/", form_of(page, **more))
    clearing = Clearing.objects.latest("pk")
    while clearing.stage == "running":
        client.post(reverse("clearing-go-on", args=[clearing.pk]))
        clearing.refresh_from_db()
    return clearing
