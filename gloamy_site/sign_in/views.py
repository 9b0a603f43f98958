"""Views for signing in with a password or a one-time link."""

from posixpath import normpath
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from django.contrib.auth import authenticate, login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods
from sesame.utils import get_user

from gloamy_site.sign_in import limiter

LINK_COOKIE = "gloamy_link"
LINK_COOKIE_AGE = 5 * 60  # seconds the visitor has to press the sign-in button


class SignInView(LoginView):
    """Shows the password form, and continues to the requested page after sign-in."""

    template_name = "sign_in/password.html"
    redirect_authenticated_user = True
    http_method_names = ("get", "head", "post", "options")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        seconds = limiter.seconds_to_wait(request, request.POST.get("username", ""))
        return self._rejected(seconds) if seconds else super().post(request, *args, **kwargs)

    def get_redirect_url(self, request: HttpRequest | None = None) -> str:
        """Return the page that `next=` names.

        Return "" if it would lead back here, to loop, or is only the site's address.
        """
        url: str = super().get_redirect_url()
        path = normpath(unquote(urlsplit(urljoin(self.request.path, url)).path))
        pages = (reverse("sign-in"), reverse("admin:login"))
        return "" if f"{path}/" in pages or url == reverse("threads") else url

    def _rejected(self, seconds: int) -> HttpResponse:
        form = self.get_form_class()(self.request)  # unbound, so the password is not checked
        context = self.get_context_data(form=form, minutes=-(-seconds // 60))
        headers = {"Retry-After": str(seconds)}
        return self.render_to_response(context, status=429, headers=headers)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        username = self.request.POST["username"]
        limiter.reset(self.request, username)
        url = _pop_next_url(self.request)
        response = super().form_valid(form)
        limiter.remember_browser(self.request, response, username)
        if url:  # HttpResponseRedirect rejects URLs longer than 16,384 characters
            response.headers["Location"] = url
        return response


def sign_in_for_admin(request: HttpRequest) -> HttpResponse:
    """Redirect the admin's login page to ours. Deny access to signed-in users who are not staff."""
    if request.user.is_authenticated and not request.user.is_staff:
        raise PermissionDenied
    query = request.GET.urlencode(safe="/")
    return redirect(f"{reverse('sign-in')}?{query}" if query else "sign-in")


def _use_up(user: User) -> bool:
    """Invalidate the user's sign-in link. Return False if a concurrent request has just used it."""
    unused = User.objects.filter(pk=user.pk, last_login=user.last_login)
    return bool(unused.update(last_login=timezone.now()))


@login_not_required
@never_cache
@sensitive_post_parameters("token")
@sensitive_variables("token")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_with_link(request: HttpRequest) -> HttpResponse:
    """Sign in with a one-time link. Only a POST uses up the link, so link previews are harmless.

    The token is moved to a cookie, to keep it out of the address bar, history and Referer header.
    """
    if "token" in request.GET:
        return _keep_token(request, request.GET["token"])
    token = request.COOKIES.get(LINK_COOKIE, "")
    if request.method == "POST":
        return _sign_in(request, token)
    return _link_page(request, _owner(token), is_missing=not token)


def _keep_token(request: HttpRequest, token: str) -> HttpResponse:
    if _owner(token) is None:
        return _link_page(request, None)
    response = redirect("sign-in-link")
    response.set_cookie(
        LINK_COOKIE,
        token,
        max_age=LINK_COOKIE_AGE,
        path=request.path,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",  # browsers do not send Strict cookies for links in emails or chats
    )
    return response


def _sign_in(request: HttpRequest, token: str) -> HttpResponse:
    user: User | None = authenticate(request, sesame=token)
    if user is None or not _use_up(user):
        return _link_page(request, None)
    url = _pop_next_url(request)
    login(request, user)
    response = HttpResponse(status=302, headers={"Location": url or resolve_url("overview")})
    response.delete_cookie(LINK_COOKIE, path=request.path, samesite="Lax")
    limiter.remember_browser(request, response, user.get_username())
    return response


def _owner(token: str) -> Any:
    return get_user(token, update_last_login=False)


def _link_page(request: HttpRequest, user: Any, *, is_missing: bool = False) -> HttpResponse:
    context = {"link_user": user, "is_missing": is_missing}
    return render(request, "sign_in/link.html", context, status=200 if user else 403)


def _pop_next_url(request: HttpRequest) -> str:
    """Remove the long URL kept in the session and return it, or "". Reset the session's expiry."""
    url = str(request.session.pop("next", ""))
    request.session.set_expiry(None)
    start = url[:1_000]  # enough to check the host; Django would reject the full URL
    is_plain = url.isascii() and url.isprintable()
    return url if is_plain and url_has_allowed_host_and_scheme(start, None) else ""
