from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path(
        "sign-in/",
        LoginView.as_view(template_name="tasks/sign_in.html", redirect_authenticated_user=True),
        name="sign-in",
    ),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    # One way to sign in, for the admin too.
    path(
        "admin/login/",
        login_not_required(RedirectView.as_view(pattern_name="sign-in", query_string=True)),
    ),
    path("admin/", admin.site.urls),
    path("", include("tasks.urls")),
]

handler400 = "tasks.views.bad_request"
handler403 = "tasks.views.forbidden"
handler404 = "tasks.views.not_found"
