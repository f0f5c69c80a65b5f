"""`hearth` as a real child process, in a home of its own: the user's folders are never touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent.parent.parent / "src"
STARTER = SOURCES / "codehearth" / "data" / "starter.gguf"
HEARTH = (sys.executable, "-m", "codehearth")

# Nobody listens there, so that no test looks for a hub on the network.
NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Hearth:
    """The command line of one home. `variables` are added to a bare environment."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)
    url: str = ""

    @property
    def data(self) -> Path:
        return self.home / ".local" / "share" / "hearth"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(SOURCES),
            "HF_ENDPOINT": NOBODY,
            "MODELSCOPE_ENDPOINT": NOBODY,
            "HEARTH_LLAMA_SERVER": "off",
            **self.variables,
        }

    def __call__(
        self,
        *arguments: str,
        stdin: str | bytes = b"",
        variables: Mapping[str, str] | None = None,
        folder: Path | None = None,
        timeout_s: float = 120,
    ) -> Result:
        """One command, waited for; its standard input ends after `stdin`."""
        done = subprocess.run(
            [*HEARTH, *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env={**self.environment, **(variables or {})},
            cwd=folder or self.home,
            timeout=timeout_s,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err, err
        return Result(done.returncode, out, err)

    @contextmanager
    def started(
        self, *arguments: str, variables: Mapping[str, str] | None = None, **options: Any
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A command that goes on until the block ends; then it is asked, and at last made, to."""
        # With an open standard input `run` would wait for its end, as for `git diff | hearth run`.
        streams: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        process = subprocess.Popen(
            [*HEARTH, *arguments],
            env={**self.environment, **(variables or {})},
            cwd=self.home,
            **{**streams, **options},
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@contextmanager
def served(hearth: Hearth, *arguments: str) -> Iterator[str]:
    """A real server of this home, until the block ends; gives its address."""
    log = (hearth.home / "serve.err").open("wb")
    with (
        log,
        hearth.started("serve", "--port", "0", "--no-page", *arguments, stderr=log) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert url, (hearth.home / "serve.err").read_text()
        yield url
