from django.urls import path

from tasks.views import (
    archived,
    clear,
    cleared,
    export,
    insights,
    overview,
    plain_text,
    secrets,
    thread,
    threads,
)

urlpatterns = [
    path("", threads.threads, name="threads"),
    path("overview/", overview.overview, name="overview"),
    path("errors/", insights.errors, name="errors"),
    path("thread/", thread.thread, name="thread"),
    path("thread/live/", thread.live, name="thread-live"),
    path("thread/step/", thread.step, name="step"),
    path("thread/raw/", plain_text.raw, name="raw"),
    path("thread/message/", plain_text.message, name="message"),
    path("thread/checkpoint/", plain_text.checkpoint, name="checkpoint"),
    path("thread/export/", export.export, name="export"),
    path("thread/clear/", clear.clear, name="clear"),
    path("thread/secrets/", secrets.secrets, name="secrets"),
    path("secrets/", secrets.reveals, name="reveals"),
    path("clear/", clear.clear_selected, name="clear-selected"),
    path("cleared/", cleared.clearing_list, name="cleared"),
    path("cleared/<int:pk>/", cleared.clearing_detail, name="clearing"),
    path("cleared/<int:pk>/thread/", archived.thread, name="clearing-thread"),
    path("cleared/<int:pk>/confirm/", clear.confirm, name="clearing-confirm"),
    path("cleared/<int:pk>/go-on/", clear.go_on, name="clearing-go-on"),
    path("cleared/<int:pk>/cancel/", clear.cancel, name="clearing-cancel"),
    path("cleared/<int:pk>/restore/", cleared.restore, name="clearing-restore"),
]
