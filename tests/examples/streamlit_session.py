"""One session with examples/streamlit_chat.py, through Streamlit's AppTest.

A program of its own, since Streamlit is not in the environment of the tests; `test_examples` runs
it against a real server. A proxy in between notes what the page sends.
"""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

SERVER = os.environ["HEARTH_URL"]
PAGE = Path(__file__).parent.parent.parent / "examples" / "streamlit_chat.py"

sent: list[dict[str, Any]] = []


class Notes(BaseHTTPRequestHandler):
    """Passes everything on, and notes the bodies."""

    def do_GET(self) -> None:
        self._pass(None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent.append(json.loads(body))
        self._pass(body)

    def _pass(self, body: bytes | None) -> None:
        request = urllib.request.Request(
            SERVER + self.path, body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            self.send_response(200)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.read())

    def log_message(self, *_: Any) -> None: ...


def texts(app: AppTest, role: str) -> list[str]:
    return [
        message.markdown[0].value
        for message in app.chat_message
        if message.name == role and message.markdown
    ]


def main() -> None:
    notes = ThreadingHTTPServer(("127.0.0.1", 0), Notes)
    threading.Thread(target=notes.serve_forever, daemon=True).start()
    os.environ["HEARTH_URL"] = f"http://127.0.0.1:{notes.server_address[1]}"

    app = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not app.exception, app.exception
    assert texts(app, "assistant") == ["有什么可以帮您的？"]
    assert "starter" in app.sidebar.selectbox[0].options

    tokens, top_p, temperature = app.sidebar.slider
    assert (tokens.min, tokens.max, tokens.value) == (32, 16000, 512)
    assert (top_p.min, top_p.max, top_p.step, top_p.value) == (0.0, 1.0, 0.01, 0.8)
    assert (temperature.min, temperature.max, temperature.value) == (0.0, 1.0, 0.7)

    tokens.set_value(40)
    top_p.set_value(0.5)
    temperature.set_value(0.0)
    app.chat_input[0].set_value("write a function that reverses a string").run()
    assert not app.exception, app.exception
    assert (sent[-1]["max_tokens"], sent[-1]["top_p"], sent[-1]["temperature"]) == (40, 0.5, 0.0)
    assert sent[-1]["stream"] is True
    answer = texts(app, "assistant")[-1]
    assert len(answer) > 20, answer

    app.chat_input[0].set_value("and in Go?").run()
    roles = [message["role"] for message in sent[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"], roles
    assert sent[-1]["messages"][2]["content"] == answer  # history is replayed as it was

    app.sidebar.button[0].click().run()
    assert texts(app, "user") == []
    print("all is well")


if __name__ == "__main__":
    main()
