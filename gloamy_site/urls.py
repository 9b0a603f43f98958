from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView

from tasks.views.sign_in import SignInView

urlpatterns = [
    path(
        "sign-in/",
        SignInView.as_view(),
        name="sign-in",
    ),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    # One way to sign in, for the admin too.
    path(
        "admin/login/",
        login_not_required(
            require_safe(RedirectView.as_view(pattern_name="sign-in", query_string=True))
        ),
    ),
    path("admin/", admin.site.urls),
    path("", include("tasks.urls")),
]

handler400 = "tasks.views.errors.bad_request"
handler403 = "tasks.views.errors.forbidden"
handler404 = "tasks.views.errors.not_found"
