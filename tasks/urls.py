from django.urls import path

from tasks.views import clear, export, sign_in, thread, threads

urlpatterns = [
    path("", threads.threads, name="threads"),
    path("thread/", thread.thread, name="thread"),
    path("thread/live/", thread.live, name="thread-live"),
    path("thread/step/", thread.step, name="step"),
    path("thread/raw/", thread.raw, name="raw"),
    path("thread/message/", thread.message, name="message"),
    path("thread/checkpoint/", thread.checkpoint, name="checkpoint"),
    path("thread/export/", export.export, name="export"),
    path("thread/clear/", clear.clear, name="clear"),
    path("sign-in/link/", sign_in.sign_in_with_link, name="sign-in-link"),
]
