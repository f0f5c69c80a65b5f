"""Browsers: a key becomes a cookie, a stranger gets a form, and another page gets nothing."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest

from codehearth.records.database import FILE_NAME
from tests.gateway.served import Served, served
from tests.gateway.test_door import bearer

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[tuple[Served, str]]:
    """A server that needs a key, and one of an administrator named ada."""
    with served(tmp_path) as server:
        yield server, server.keys.create("ada", role="admin")


def cookie_of(headers: Mapping[str, str]) -> dict[str, str]:
    return {"Cookie": headers["set-cookie"].partition(";")[0]}


def log_in(server: Served, key: str) -> dict[str, str]:
    status, headers, data = server.request("POST", "/hearth/login", {"key": key})
    assert status == 200, data
    return cookie_of(headers)


def session(server: Served, headers: Mapping[str, str] | None = None) -> dict[str, object]:
    status, _, data = server.request("GET", "/hearth/session", headers=headers)
    assert status == 200
    return dict(json.loads(data))


def test_without_keys_everybody_here_is_the_local_administrator(server: Served) -> None:
    assert session(server) == {
        "user": None,
        "role": "admin",
        "keys_required": False,
        "is_signed_in": True,
        "by": "open",
        "expires_at": None,
    }


def test_a_key_becomes_a_session_that_scripts_and_other_sites_cannot_have(
    locked: tuple[Served, str],
) -> None:
    server, key = locked
    assert session(server)["is_signed_in"] is False

    status, headers, data = server.request("POST", "/hearth/login", {"key": key})

    assert status == 200 and key.encode() not in data
    assert re.search(r"; HttpOnly.*; SameSite=strict", headers["set-cookie"])
    known = session(server, cookie_of(headers))
    assert (known["user"], known["role"], known["by"]) == ("ada", "admin", "session")
    assert known["expires_at"] == json.loads(data)["expires_at"]
    assert server.request("GET", "/v1/models", headers=cookie_of(headers))[0] == 200


def test_a_form_needs_no_script(locked: tuple[Served, str]) -> None:
    server, key = locked

    status, headers, _ = server.request(
        "POST", "/hearth/login", urlencode({"key": f" {key}\n"}).encode(), FORM
    )

    assert (status, headers["location"]) == (303, "/")
    assert session(server, cookie_of(headers))["user"] == "ada"
    status, headers, page = server.request("POST", "/hearth/login", b"key=sk-wrong", FORM)
    assert status == 401 and "set-cookie" not in headers
    assert b"not known here" in page and b"sk-wrong" not in page


@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/queue/join", "/nowhere", "/v1/models"]
)
def test_a_browser_without_a_session_gets_the_form_and_all_else_nothing(
    locked: tuple[Served, str], path: str
) -> None:
    server, _ = locked

    status, headers, page = server.request("GET", path, headers=BROWSER)

    assert status == 401 and headers["content-type"].startswith("text/html")
    assert "登录".encode() in page and b"<script" not in page
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    for method, given in (("GET", {}), ("POST", BROWSER)):
        status, headers, _ = server.request(method, path, headers=given)
        assert (status, headers["content-type"]) == (401, "application/json")


def test_a_server_without_a_page_shows_no_form(tmp_path: Path) -> None:
    with served(tmp_path, page=False) as server:
        server.keys.create("ada")

        assert server.request("GET", "/", headers=BROWSER)[1]["content-type"] == "application/json"


def test_logging_out_ends_the_session(locked: tuple[Served, str]) -> None:
    server, key = locked
    one, other = log_in(server, key), log_in(server, key)

    status, headers, _ = server.request("POST", "/hearth/logout", headers=one)

    assert status == 200 and 'hearth_session="";' in headers["set-cookie"]
    assert session(server, one)["is_signed_in"] is False
    assert session(server, other)["is_signed_in"] is True


def test_a_revoked_key_ends_its_sessions_at_once(locked: tuple[Served, str]) -> None:
    server, key = locked
    cookie = log_in(server, key)

    server.keys.revoke("ada")

    assert server.request("GET", "/v1/models", headers=cookie)[0] == 401
    assert session(server, cookie)["is_signed_in"] is False
    assert server.request("POST", "/hearth/login", {"key": key})[0] == 401


def test_a_session_is_over_when_its_time_is(locked: tuple[Served, str], tmp_path: Path) -> None:
    server, key = locked
    cookie = log_in(server, key)
    with sqlite3.connect(tmp_path / "data" / FILE_NAME) as file:
        file.execute("UPDATE sessions SET expires_at = 1")
    file.close()

    assert session(server, cookie)["is_signed_in"] is False


def test_only_the_digest_of_a_session_is_kept(locked: tuple[Served, str], tmp_path: Path) -> None:
    server, key = locked
    token = log_in(server, key)["Cookie"].partition("=")[2]

    files = [path.read_bytes() for path in (tmp_path / "data").glob("records*")]

    assert files and not any(token.encode() in content for content in files)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://{host}"}, 200),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_a_change_by_cookie_comes_from_our_own_page(
    locked: tuple[Served, str], headers: dict[str, str], status: int
) -> None:
    server, key = locked
    sent = {name: text.format(host=f"127.0.0.1:{server.port}") for name, text in headers.items()}
    cookie = log_in(server, key)

    got, _, _ = server.request("DELETE", "/hearth/conversations", headers=cookie | sent)

    assert got == status


def test_an_origin_that_may_use_the_api_may_not_use_the_cookie(tmp_path: Path) -> None:
    with served(tmp_path, allowed_origins=("https://tool.example",)) as server:
        key = server.keys.create("ada")
        cookie, origin = log_in(server, key), {"Origin": "https://tool.example"}

        by_cookie = server.request("DELETE", "/hearth/conversations", headers=cookie | origin)
        by_key = server.request("DELETE", "/hearth/conversations", headers=bearer(key) | origin)

        assert (by_cookie[0], by_key[0]) == (403, 200)


def test_a_key_in_the_header_counts_before_the_cookie(locked: tuple[Served, str]) -> None:
    server, key = locked
    cookie, bob = log_in(server, key), server.keys.create("bob")

    assert session(server, cookie | bearer(bob))["user"] == "bob"
    assert server.request("GET", "/v1/models", headers=cookie | bearer("sk-no"))[0] == 401


@pytest.mark.parametrize(
    "body", [b"", b"key=", b"key=" + b"x" * 5000, b"\xff\xfe", b"&&&=%", b"key=%00%ff"]
)
def test_a_strange_form_is_refused(locked: tuple[Served, str], body: bytes) -> None:
    assert locked[0].request("POST", "/hearth/login", body, FORM)[0] in (401, 413)


def test_a_chat_key_may_not_move_models(locked: tuple[Served, str]) -> None:
    server, _ = locked
    bob = bearer(server.keys.create("bob"))
    changes = [
        ("POST", "/hearth/load"),
        ("POST", "/hearth/unload"),
        ("DELETE", "/hearth/models/fake"),
        ("POST", "/hearth/pulls"),
        ("POST", "/hearth/pulls/p_1/pause"),
        ("POST", "/hearth/pulls/p_1/resume"),
        ("POST", "/hearth/pulls/p_1/cancel"),
        ("DELETE", "/hearth/pulls/p_1"),
    ]

    for method, path in changes:
        status, _, data = server.request(method, path, {"model": "fake"}, bob)
        assert status == 403, path
        assert json.loads(data)["error"]["type"] == "permission_error"
    assert server.request("GET", "/hearth/pulls", headers=bob)[0] == 200
