"""Middleware that compresses static files, pages and exports with gzip."""

import gzip
from functools import cache
from pathlib import Path
from typing import Any
from wsgiref.headers import Headers

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware, re_accepts_gzip
from whitenoise.middleware import WhiteNoiseMiddleware

from tasks.secrets import reveal


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Serve static files. Each is compressed once per process, when a browser first asks for it."""

    def add_cache_headers(self, headers: Headers, path: str, url: str) -> None:
        super().add_cache_headers(headers, path, url)
        headers["Vary"] = "Accept-Encoding"

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> Any:
        response = WhiteNoiseMiddleware.serve(static_file, request)
        is_whole = response.status_code == 200  # neither a byte range nor 304
        if is_whole and re_accepts_gzip.search(request.headers.get("Accept-Encoding", "")):
            path, _ = static_file.get_path_and_headers({})
            content = _compressed(path, response["ETag"])
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Content-Length"] = str(len(content))
            if request.method == "GET":
                response.streaming_content = [content]
        return response


@cache
def _compressed(path: str, version: str) -> bytes:
    return gzip.compress(Path(path).read_bytes(), mtime=0)


class CompressionMiddleware(GZipMiddleware):
    """Compress responses, unless their compressed size could disclose a secret (BREACH).

    The attack compares the sizes of responses in which chosen text is next to the secret. So a
    response with revealed secrets is not compressed, nor one that another site has requested.
    `MaskingMiddleware` must handle responses first, so that all other secrets are masked.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        is_ours = request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        if reveal.lifted_until(request) or not is_ours:
            return response
        return super().process_response(request, response)
