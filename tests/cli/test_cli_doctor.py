"""`hearth doctor` finds what goes wrong most often; each test causes the trouble itself."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from codehearth.cli.doctor.check import Check
from codehearth.cli.doctor.hardware import cuda_wanted, driver_check, memory
from codehearth.cli.doctor.network import clock
from tests.cli.command_line import HEARTH, NOBODY, SOURCES, Hearth

# The functions of NVIDIA's library that are called before a GPU is asked for.
_OLD_DRIVER = """
#include <string.h>
int nvmlInitWithFlags(unsigned f) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 0; return 0; }
int nvmlSystemGetDriverVersion(char *to, unsigned n) { strncpy(to, "470.42.01", n); return 0; }
const char *nvmlErrorString(int code) { return "none"; }
"""


@contextmanager
def hub_at(seconds: float) -> Iterator[str]:
    """A hub whose clock is `seconds` away from ours."""
    import time

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(200)
            self.send_header("Date", formatdate(time.time() + seconds, usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def examined(hearth: Hearth, **variables: str) -> dict[str, Check]:
    """The report by name; of several lines with one name the worst."""
    report: dict[str, Check] = {}
    order = ["ok", "warn", "fail"]
    for line in json.loads(hearth("doctor", "--json", variables=variables).out):
        check = Check(**line)
        known = report.get(check.name)
        if known is None or order.index(check.state) > order.index(known.state):
            report[check.name] = check
    return report


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Check]]:
    """The report of a home where much is wrong at once."""
    hearth = Hearth(tmp_path_factory.mktemp("troubled"))
    engine = hearth.data / "engines" / "transformers"
    engine.mkdir(parents=True)
    (engine / "environment.json").write_text(
        '{"folder": "gone", "device": "cpu", "version": "1", "digest": "", "facts": {}}'
    )
    hearth.data.chmod(0o755)
    library = hearth.home / "driver"
    library.mkdir()
    if shutil.which("cc"):
        argv = ["cc", "-x", "c", "-shared", "-fPIC", "-o", str(library / "libnvidia-ml.so.1"), "-"]
        subprocess.run(argv, input=_OLD_DRIVER.encode(), check=True)
    with socket.socket() as taken, hub_at(-7200) as hub:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield examined(
            hearth,
            HEARTH_PORT=str(taken.getsockname()[1]),
            HF_ENDPOINT=hub,
            HTTP_PROXY=NOBODY,
            LD_LIBRARY_PATH=str(library),
            NO_PROXY="127.0.0.1",
        )


def test_a_port_that_is_taken(troubled: dict[str, Check]) -> None:
    assert troubled["server"].state == "warn"
    assert "Address already in use" in troubled["server"].detail
    assert "--port" in str(troubled["server"].hint)


def test_a_clock_that_is_wrong(troubled: dict[str, Check]) -> None:
    assert troubled["clock"].state == "warn"
    assert "120 minutes ahead of the hub's" in troubled["clock"].detail
    assert "set-ntp" in str(troubled["clock"].hint)


def test_a_clock_that_was_never_set() -> None:
    check = clock(None, now_s=86_400.0)

    assert check.state == "fail"
    assert "1970-01-02" in check.detail


def test_a_data_folder_that_others_can_read(troubled: dict[str, Check]) -> None:
    assert troubled["permissions"].state == "warn"
    assert "mode 755" in troubled["permissions"].detail
    assert str(troubled["permissions"].hint).startswith("`chmod 700 ")


def test_a_proxy_that_swallows_what_is_meant_for_this_machine(
    troubled: dict[str, Check],
) -> None:
    """NO_PROXY names the address, and many programs ask for the name."""
    assert troubled["proxy"].state == "warn"
    assert troubled["proxy"].detail.endswith("does not exempt localhost")
    assert "NO_PROXY=127.0.0.1,localhost" in str(troubled["proxy"].hint)


def test_an_engines_environment_that_is_broken(troubled: dict[str, Check]) -> None:
    assert troubled["engines"].state == "fail"
    assert "its files are gone" in troubled["engines"].detail
    assert "hearth engines install transformers" in str(troubled["engines"].hint)


def test_a_mirror_that_is_reached_in_part(troubled: dict[str, Check]) -> None:
    assert troubled["hubs"].detail == "Hugging Face can be reached"


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler for a driver's library")
@pytest.mark.skipif(sys.platform != "linux", reason="LD_LIBRARY_PATH is Linux's")
def test_a_driver_that_is_too_old(troubled: dict[str, Check]) -> None:
    assert troubled["driver"].state == "warn"
    assert "NVIDIA 470.42.01 is too old" in troubled["driver"].detail
    assert "580" in str(troubled["driver"].hint)


@pytest.mark.parametrize(
    ("version", "state"),
    [("470.42.01", "warn"), ("535.104", "warn"), ("580.65.06", "ok"), (None, "fail"), ("x", "ok")],
)
def test_what_a_drivers_version_means(version: str | None, state: str) -> None:
    assert cuda_wanted() == 13
    assert driver_check(version, "driver/library version mismatch", 13).state == state


def test_mirrors_that_cannot_be_reached(hearth: Hearth) -> None:
    assert examined(hearth)["hubs"].state == "warn"
    assert "HF_ENDPOINT" in str(examined(hearth)["hubs"].hint)


def test_a_mirror_that_does_not_answer_while_the_other_hub_does(hearth: Hearth) -> None:
    with hub_at(0) as there:
        report = examined(hearth, HF_ENDPOINT="http://127.0.0.1:9", MODELSCOPE_ENDPOINT=there)

    assert report["hubs"].state == "ok"
    assert report["mirror"].state == "warn"
    assert report["mirror"].detail.startswith("http://127.0.0.1:9, named for Hugging Face")
    assert "HF_ENDPOINT" in str(report["mirror"].hint)


@pytest.mark.skipif(not shutil.which("unshare"), reason="no unshare here")
def test_a_root_without_other_users(hearth: Hearth) -> None:
    """As in a container without a map of users: no sandbox may be possible, and that is told."""
    alone = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no namespaces of users here")

    done = subprocess.run(
        [*alone, *HEARTH, "doctor", "--json"],
        env=hearth.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "sandbox" in {check["name"] for check in json.loads(done.stdout)}


def test_too_little_memory() -> None:
    assert memory(2**30, 2**34) == Check(
        "memory", "warn", "1.0 GiB of 16.0 GiB free", memory(2**30, 2**34).hint
    )
    assert memory(2**33, 2**34).state == "ok"


def test_a_data_folder_that_cannot_be_written(hearth: Hearth) -> None:
    checks = examined(hearth, HEARTH_DATA="/proc/hearth")

    assert checks["data folder"].state == "fail"
    assert checks["data folder"].hint == "name another with HEARTH_DATA"


def test_a_data_folder_that_is_a_file(hearth: Hearth) -> None:
    """Every engine's environment was called broken then, six lines of a false trail."""
    file = hearth.home / "file"
    file.write_text("")

    checks = examined(hearth, HEARTH_DATA=str(file))

    assert checks["data folder"].detail.endswith("is a file, and a folder is wanted")
    assert not {"engines", "permissions"} & set(checks)


@pytest.mark.parametrize("text", ["prot = 9", 'port = "x', 'port = "many"'])
def test_settings_that_are_broken_do_not_stop_the_other_checks(hearth: Hearth, text: str) -> None:
    """The user's file is read for the defaults too, and the doctor died of what it should name."""
    file = hearth.home / ".config" / "hearth" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)

    checks = examined(hearth)

    assert checks["settings"].state == "fail"
    assert str(file) in checks["settings"].detail
    assert checks["starter"].state == "ok"


def test_a_disk_that_is_nearly_full(hearth: Hearth) -> None:
    disk = hearth.home / "small"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=2m none {disk} && exec "$@"'
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no small disk can be made here: mounting needs user namespaces")
    done = subprocess.run(
        [*words, *HEARTH, "doctor"],
        env={**hearth.environment, "HEARTH_DATA": str(disk / "data")},
        cwd=hearth.home,
        capture_output=True,
        text=True,
        check=False,
    )

    line = next(line for line in done.stdout.splitlines() if "free for" in line)
    assert line.startswith("fail  disk"), done.stdout + done.stderr
    assert "make room" in done.stdout


def test_a_starter_model_that_is_damaged(hearth: Hearth) -> None:
    package = hearth.home / "package" / "codehearth"
    shutil.copytree(
        SOURCES / "codehearth",
        package,
        ignore=shutil.ignore_patterns("__pycache__", "static"),
    )
    with (package / "data" / "starter.gguf").open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"?")

    checks = examined(hearth, PYTHONPATH=str(package.parent))

    assert checks["starter"].state == "fail"
    assert "its hash is not that of the package" in checks["starter"].detail
    assert "install codehearth again" in str(checks["starter"].hint)
