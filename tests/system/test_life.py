"""A server's life: starting, switching, leaving, being killed."""

from __future__ import annotations

import json
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.system.conftest import Hearth, Server

HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 8}
CHAT = "/v1/chat/completions"


def eventually(is_so: Callable[[], bool], *, within_s: float = 30.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def test_two_models_that_do_not_fit_together_lose_no_request(
    hearth: Hearth, tiny_model: Path
) -> None:
    """Fifty users ask two models, of which the memory holds one at a time."""
    with hearth.serving("-m", str(tiny_model), HEARTH_MEMORY="130MiB") as server:
        names = [model["id"] for model in server.get("/v1/models").json()["data"]]
        assert set(names) == {"starter", "tiny"}

        def ask(number: int) -> tuple[int, str]:
            answer = server.post(CHAT, HELLO | {"model": names[number % 2]})
            return answer.status_code, answer.text

        with ThreadPoolExecutor(50) as threads:
            answers = list(threads.map(ask, range(50)))

        assert [status for status, _ in answers] == [200] * 50, answers
        metrics = server.get("/metrics").text
        assert "hearth_evictions_total" in metrics


def test_a_killed_server_leaves_no_engine(hearth: Hearth) -> None:
    with hearth.serving() as server:
        assert server.post(CHAT, HELLO).status_code == 200
        engines = server.engines()
        assert engines

        server.child.kill()

        assert eventually(lambda: not any(is_alive(engine) for engine in engines))


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_sigterm_lets_answers_end_and_takes_no_new_ones(hearth: Hearth) -> None:
    with hearth.serving() as server:
        server.post(CHAT, HELLO)
        engines = server.engines()
        long_one = HELLO | {"max_tokens": 2000, "grammar": "root ::= [a-z]{1900}", "stream": True}
        body = json.dumps(long_one).encode()
        address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        with socket.create_connection(address, timeout=60) as raw:
            raw.sendall(
                f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            text = raw.recv(65536)
            assert b" 200 " in text
            assert b"[DONE]" not in text

            server.child.send_signal(signal.SIGTERM)
            while b"[DONE]" not in text and (piece := raw.recv(65536)):
                text += piece

        assert b"[DONE]" in text
        assert server.child.wait(40) == 0
        assert not any(is_alive(engine) for engine in engines)
        with pytest.raises(httpx2.ConnectError):
            server.get("/health")


def test_a_second_signal_does_not_wait(hearth: Hearth) -> None:
    with hearth.serving() as server:
        server.post(CHAT, HELLO)
        waiting = threading.Thread(target=lambda: endless(server), daemon=True)
        waiting.start()
        assert eventually(lambda: "hearth_model_in_flight" in server.get("/metrics").text)

        server.child.send_signal(signal.SIGTERM)
        # Two signals at once may become one.
        assert eventually(lambda: "leaving: waiting" in (hearth.home / "stderr.txt").read_text())
        server.child.send_signal(signal.SIGTERM)

        assert server.child.wait(20) == 0
        waiting.join(20)


def endless(server: Server) -> None:
    try:
        server.post(CHAT, HELLO | {"max_tokens": 2000, "grammar": "root ::= [a-z]{1900}"})
    except httpx2.HTTPError:
        return


def test_a_second_server_on_the_same_folder_says_where_the_first_is(hearth: Hearth) -> None:
    with hearth.serving() as server:
        second = hearth.run("serve", "--port", "0")

        assert second.returncode == 2
        assert server.url in second.stderr
        assert "hint:" in second.stderr
        assert "Traceback" not in second.stderr


def test_a_taken_port_is_one_line(hearth: Hearth) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = hearth.run("serve", "--port", str(port))

        assert done.returncode == 2
        assert f"port {port}" in done.stderr
        assert "Traceback" not in done.stderr


def test_listening_elsewhere_needs_a_key(hearth: Hearth) -> None:
    refused = hearth.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "hearth keys create" in refused.stderr

    key = hearth.run("keys", "create", "ada").stdout
    assert key.startswith("sk-") and key.count("\n") == 1
    with hearth.serving("--host", "0.0.0.0") as server:
        ours = {"Authorization": f"Bearer {key.strip()}"}

        assert server.get("/v1/models").status_code == 401
        assert server.get("/v1/models", headers=ours).status_code == 200
        assert hearth.run("keys", "revoke", "ada").returncode == 0
        assert server.get("/v1/models", headers=ours).status_code == 401


def test_keys_and_prompts_are_in_no_log_and_no_command_line(hearth: Hearth) -> None:
    key = hearth.run("keys", "create", "ada").stdout.strip()
    marker = "marker-of-a-private-prompt"
    with hearth.serving(HF_TOKEN="hf_secret_of_the_user") as server:
        server.post(
            CHAT,
            {"messages": [{"role": "user", "content": marker}], "max_tokens": 4},
            headers={"Authorization": f"Bearer {key}"},
        )
        children = server.engines()
        lines = " ".join(" ".join(process.cmdline()) for process in children)
        inherited = [process.environ() for process in children]

    written = b"".join(path.read_bytes() for path in hearth.home.rglob("*") if path.is_file())
    for secret in (key, marker, "hf_secret_of_the_user"):
        assert secret.encode() not in written
        assert secret not in lines
    assert all("HF_TOKEN" not in environment for environment in inherited)


def test_the_file_for_the_command_line_is_private_and_goes_with_the_server(
    hearth: Hearth,
) -> None:
    with hearth.serving():
        mode = stat.S_IMODE((hearth.data / "server.json").stat().st_mode)
        assert mode == 0o600

    assert not (hearth.data / "server.json").exists()


def test_an_engine_that_was_killed_is_replaced(hearth: Hearth) -> None:
    with hearth.serving() as server:
        assert server.post(CHAT, HELLO).status_code == 200

        for engine in server.engines():
            engine.kill()

        assert server.post(CHAT, HELLO).status_code == 200
