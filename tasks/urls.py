from django.urls import path

from tasks import views

urlpatterns = [
    path("", views.threads, name="threads"),
    path("thread/", views.thread, name="thread"),
    path("thread/message/", views.message, name="message"),
    path("thread/checkpoint/", views.checkpoint, name="checkpoint"),
    path("thread/clear/", views.clear, name="clear"),
    path("sign-in/link/", views.sign_in_with_link, name="sign-in-link"),
]
