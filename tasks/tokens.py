"""Thread ids as the values of forms: a browser changes line ends, and drops nothing else."""

from base64 import urlsafe_b64decode, urlsafe_b64encode

from django.core.exceptions import BadRequest


def token_of(thread_id: str) -> str:
    return "id-" + urlsafe_b64encode(str(thread_id).encode()).decode()


def id_of(token: str) -> str:
    """Raises BadRequest for what is no token."""
    try:
        thread_id = urlsafe_b64decode(token.removeprefix("id-")).decode()
    except ValueError:
        thread_id = ""
    if token_of(thread_id) != token:
        raise BadRequest("The form names a thread in a way that cannot be understood.")
    return thread_id
