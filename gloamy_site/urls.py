from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path
from django.views.decorators.http import require_safe

from gloamy_site.sign_in.views import SignInView, sign_in_for_admin, sign_in_with_link


@login_not_required
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Redirect to the icon. Browsers request this URL for pages without an icon, such as JSON."""
    return redirect(static("tasks/icon.svg"))


admin.autodiscover()

urlpatterns = [
    path("sign-in/", SignInView.as_view(), name="sign-in"),
    path("sign-in/link/", sign_in_with_link, name="sign-in-link"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("admin/login/", login_not_required(require_safe(sign_in_for_admin))),
    path("admin/", admin.site.urls),
    path("favicon.ico", favicon, name="favicon"),
    path("", include("tasks.urls")),
]

handler400 = "tasks.views.errors.bad_request"
handler403 = "tasks.views.errors.forbidden"
handler404 = "tasks.views.errors.not_found"
