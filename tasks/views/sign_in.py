"""Signing in, with a password or with a one-time link."""

from django.contrib.auth import authenticate, login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods
from sesame.utils import get_user


class SignInView(LoginView):
    """Sign in with a password, and go on to the page that was wanted."""

    template_name = "tasks/sign_in.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        wanted = self.request.session.pop("next", None)
        response = super().form_valid(form)
        if wanted is None:
            return response
        # our own, and so to be trusted; a redirect proper refuses an address over 16,384 characters
        return HttpResponse(status=302, headers={"Location": wanted})


@login_not_required
@never_cache
@sensitive_post_parameters("token")
@sensitive_variables("token")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_with_link(request: HttpRequest) -> HttpResponse:
    """Sign in with a one-time link. Only the POST uses it up, so a link preview does no harm."""
    if request.method == "POST":
        user = authenticate(request, sesame=request.POST.get("token", ""))
        if user is not None:
            login(request, user)
            return redirect("threads")
        return render(request, "tasks/sign_in_link.html", {"user_found": None}, status=403)
    token = request.GET.get("token", "")
    user_found = get_user(token, update_last_login=False)
    return render(
        request,
        "tasks/sign_in_link.html",
        {"token": token, "user_found": user_found},
        status=200 if user_found else 403,
    )
