"""Tests a running server: its startup checks, its log and the host names it accepts."""

import http.client
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.server import Server, sign_in


def request(
    server: Server, path: str, host: str = "", method: str = "GET", **headers: str
) -> tuple[int, str]:
    """Send a request and return the response's status and Location header."""
    host = host or "127.0.0.1"
    connection = http.client.HTTPConnection(host, server.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers.get("Location", "")
    finally:
        connection.close()


def test_serve_logs_one_line_for_each_rejection_and_no_link(server: Server):
    server.start()
    path = "/sign-in/link/?" + server.link().partition("?")[2]
    token = path.partition("token=")[2]

    assert request(server, path) == (302, "/sign-in/link/")
    assert request(server, path + "x")[0] == 403
    assert request(server, path, Host="evil.example")[0] == 400
    assert request(server, path + "&x=" + "x" * 61_000)[0] == 414
    assert request(server, path, **{"X-Large": "x" * 500_000})[0] == 431
    assert request(server, "/", Host="evil.example" + "x" * 5_000)[0] == 400
    assert request(server, "/sign-in/?" + "a&" * 1_001)[0] == 413
    assert request(server, "/admin/" + "x" * 5_000, method="POST")[0] == 403
    assert request(server, "/sign-in/")[0] == 200
    output, error = server.stop()

    assert token[:20] not in error
    assert token not in output
    assert [line[:20] for line in error.splitlines()] == [
        "Invalid HTTP_HOST he",
        "Invalid HTTP_HOST he",
        "The number of GET/PO",
        "Forbidden (CSRF cook",
    ]
    assert max(map(len, error.splitlines())) <= 500


def test_pages_load_while_many_connections_send_no_request(server: Server):
    server.open_files = 128
    server.start()
    browser = sign_in(server.link())
    assert_no_http_2(server)
    page = f"http://127.0.0.1:{server.port}/"
    unfinished = [b"", b"G", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"]

    with ExitStack() as stack:
        for number in range(300):
            waiting = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            waiting.sendall(unfinished[number % 3])
        # Only 64 are accepted, and closed after 10 seconds: waiting would take 40 seconds.
        with browser.open(page, timeout=30) as answer:
            assert answer.status == 200


def assert_no_http_2(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

        assert client.recv(1_000) == b""  # closed, without an HTTP/2 frame


def test_serve_prints_no_link_with_no_link_option(server: Server):
    process = server.start("--no-link")
    printed = ""
    while "Press Ctrl-C to stop." not in printed:
        line = process.stdout.readline() if process.stdout else ""
        assert line, server.stop()
        printed += line

    assert "token=" not in printed
    assert f"sign_in_link --server http://127.0.0.1:{server.port}\n" in printed
    assert request(server, "/sign-in/")[0] == 200


def test_serve_allows_the_host_it_listens_on(server: Server):
    server.start("--host", "127.0.0.2", ALLOWED_HOSTS="tasks.example.org")
    assert server.link().startswith(f"http://127.0.0.2:{server.port}/")

    statuses = [
        request(server, "/sign-in/", "127.0.0.2", Host=host)[0]
        for host in ("127.0.0.2", "tasks.example.org", "127.0.0.3")
    ]

    assert statuses == [200, 200, 400]


def test_serve_prints_links_for_its_public_address(server: Server):
    server.start(SITE_URL="https://tasks.example.org/", TRUSTED_PROXY="127.0.0.1")
    link = server.link()
    host = {"Host": "tasks.example.org"}
    proxied = {**host, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.1"}

    assert link.startswith("https://tasks.example.org/sign-in/link/?token=")
    assert request(server, "/sign-in/", **host) == (301, "https://tasks.example.org/sign-in/")
    assert request(server, "/sign-in/") == (301, "https://tasks.example.org/sign-in/")
    assert request(server, "/sign-in/", **proxied)[0] == 200


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"SITE_URL": "https://a.example"}, "SITE_URL uses https, which requires a proxy"),
        ({"SITE_URL": "a.example"}, "SITE_URL: use a URL such as https://tasks"),
        ({"SITE_URL": "https://*"}, "SITE_URL: use a URL such as https://tasks"),
        ({"TRUSTED_PROXY": "0.0.0.0/0"}, "TRUSTED_PROXY: list the proxy; this would trust"),
        ({"TRUSTED_PROXY": "nginx"}, "TRUSTED_PROXY: 'nginx' does not appear to be"),
        ({"ALLOWED_HOSTS": "*"}, "ALLOWED_HOSTS: list the hosts; * would allow any."),
    ],
)
def test_serve_rejects_invalid_settings(server: Server, environment: dict[str, str], sentence: str):
    server.start(**environment)

    assert server.refusal().startswith(sentence)


def test_serve_rejects_a_linked_store_without_changing_it(server: Server, tmp_path: Path):
    target = tmp_path / "elsewhere.db"
    target.touch()
    server.store_file.symlink_to(target)
    server.start()

    assert server.refusal() == (
        f"{server.store_file} is really {target}, outside {server.workspace}."
        " If this is intended, set GLOAMY_LINKED_STORE=1."
    )
    assert target.read_bytes() == b""
