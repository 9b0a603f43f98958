"""Answers the heavy requests of `manage.py serve` in processes of their own.

Python runs only one thread of a process at a time, so a large export would slow down everybody's
pages. Instead, a fork server with the application already loaded starts a process for each heavy
request. That process handles the request from the beginning and sends the server its response.
"""

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from io import BytesIO
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from gloamy_site.orphans import exit_with_parent
from tasks.views import errors
from tasks.views.limits import ANSWER_ELSEWHERE

CHUNK = 64 * 1024  # bytes; what a pipe holds
CUT_OFF = b"\n\nThis is not complete: the server could not finish it.\n"

logger = logging.getLogger(__name__)

Application = Callable[..., Iterable[bytes]]


class RelayedResponse(StreamingHttpResponse):
    """A response from another process, where the middleware has already handled it.

    `head` is what WSGI's start_response gets: the status and the headers.
    """

    def __init__(self, reader: Connection) -> None:
        self.head = reader.recv()
        self.chunks = _content(reader)
        super().__init__(self.chunks)
        self._resource_closers.append(reader.close)  # type: ignore[attr-defined]


def in_own_processes(application: Application) -> Application:
    """Return the application, changed to answer heavy requests in processes of their own.

    Systems without fork servers, such as Windows, get it unchanged.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return application
    # A fork server does not adopt sys.path before Python 3.13.
    path = filter(None, [str(settings.BASE_DIR), os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    multiprocessing.get_context("forkserver").set_forkserver_preload(["gloamy_site.fork_server"])
    forkserver.ensure_running()
    return partial(_handle, application)


def _handle(
    application: Application, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    # Copied, because the middleware changes the original.
    variables = {name: value for name, value in environ.items() if isinstance(value, str)}
    environ[ANSWER_ELSEWHERE] = partial(_relay, variables)
    heads: list[Any] = []
    response = application(environ, lambda *head: heads.append(head))
    if isinstance(response, RelayedResponse):  # undo what this process's middleware has done to it
        heads = [response.head]
        response.streaming_content = response.chunks
    start_response(*heads[-1])
    return response


def _relay(environ: dict[str, str], request: HttpRequest) -> HttpResponse | RelayedResponse:
    """Answer a request in a new process, and return its response as soon as it begins."""
    body = request.body if request.method == "POST" else b""
    context = multiprocessing.get_context("forkserver")
    reader, writer = context.Pipe(duplex=False)
    try:
        with writer:
            context.Process(target=_answer, args=(environ, body, writer), daemon=True).start()
        return RelayedResponse(reader)
    except (EOFError, OSError) as error:  # for example, if the system killed it to free memory
        reader.close()
        logger.error("The process of a heavy request ended early: %r", error)
        return errors.process_ended(request)


def _content(reader: Connection) -> Iterator[bytes]:
    try:
        yield from iter(reader.recv_bytes, b"")
    except EOFError:
        logger.error("The process of a heavy request ended early, in the middle of its response.")
        yield CUT_OFF  # granian would end the response as if it were complete


def _answer(environ: dict[str, Any], body: bytes, writer: Connection) -> None:
    """Handle a request: send its status and headers, the chunks of its content, and an empty one.

    If the visitor leaves, the server closes the pipe, and this stops.
    """
    exit_with_parent()
    from gloamy_site.wsgi import application  # noqa: PLC0415 - the fork server has loaded it

    def start_response(status: str, headers: list[tuple[str, str]], *args: Any) -> Any:
        writer.send((status, headers))

    with suppress(BrokenPipeError):
        environ |= {"wsgi.input": BytesIO(body), "wsgi.errors": sys.stderr}
        with closing(application(environ, start_response)) as response:
            for chunk in response:
                for start in range(0, len(chunk), CHUNK):
                    writer.send_bytes(chunk[start : start + CHUNK])
        writer.send_bytes(b"")
    connections.close_all()
