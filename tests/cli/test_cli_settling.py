"""Settling in: the service's unit, the manual, licences, and completion in real shells."""

from __future__ import annotations

import json
import os
import plistlib
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from codehearth.cli.licenses import licensed
from codehearth.cli.units import launchd_plist, systemd_unit
from codehearth.models.made import Made, MadeModel
from tests.cli.command_line import HEARTH, Hearth

MANUAL = Path(__file__).parent.parent.parent / "docs" / "hearth.1"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(program), reason=f"no {program} here")


def as_systemd(hearth: Hearth, body: str) -> dict[str, str]:
    """Variables with which `systemctl` is a program that notes what it was asked, then `body`."""
    tools = hearth.home / "tools"
    tools.mkdir(exist_ok=True)
    program = tools / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >> {hearth.home}/asked\n{body}\n')
    program.chmod(0o755)
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


def unit_of(hearth: Hearth) -> Path:
    return hearth.home / ".config" / "systemd" / "user" / "hearth.service"


@needs("systemd-analyze")
def test_systemd_accepts_the_unit(hearth: Hearth, tmp_path: Path) -> None:
    unit = tmp_path / "hearth.service"
    unit.write_text(hearth("service", "install", "--print", "--port", "9000").out)

    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


@needs("systemd-analyze")
@pytest.mark.parametrize("word", ["/with space/python", "100%", "$HOME", 'a"b', "a\\b", "模型"])
def test_whatever_a_path_holds_reaches_the_program(word: str, tmp_path: Path) -> None:
    """systemd expands `%` and `$`, and splits at spaces."""
    unit = tmp_path / "hearth.service"
    unit.write_text(systemd_unit(["/bin/echo", word], {"HEARTH_DATA": "/d 1", "PATH": "/bin"}))

    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


@needs("systemctl")
@pytest.mark.skipif(os.uname().sysname != "Linux", reason="systemd is Linux's")
def test_a_service_is_installed_shown_and_removed(hearth: Hearth) -> None:
    variables = as_systemd(hearth, "exit 0")
    installed = hearth("service", "install", "--port", "9000", "--no-page", variables=variables)
    status = hearth("service", "status", "--json", variables=variables)
    text = unit_of(hearth).read_text()
    removed = hearth("service", "remove", variables=variables)
    asked = (hearth.home / "asked").read_text().splitlines()

    assert (installed.code, removed.code) == (0, 0)
    assert "serve --port 9000 --no-page\n" in text
    assert f"HEARTH_DATA={hearth.data}" in text
    assert json.loads(status.out) == {
        "installed": True,
        "running": True,
        "file": str(unit_of(hearth)),
    }
    assert not unit_of(hearth).exists()
    assert asked == [
        "--user show-environment",
        "--user daemon-reload",
        "--user enable hearth.service",
        "--user restart hearth.service",
        "--user is-active --quiet hearth.service",
        "--user disable --now hearth.service",
        "--user daemon-reload",
    ]


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="systemd is Linux's")
def test_without_a_login_session_the_reason_is_told(hearth: Hearth) -> None:
    variables = as_systemd(hearth, "echo 'Failed to connect to bus' >&2; exit 1")

    result = hearth("service", "install", variables=variables)

    assert result.code == 1
    assert "Failed to connect to bus" in result.err
    assert "XDG_RUNTIME_DIR" in result.err
    assert not unit_of(hearth).exists()


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="systemd is Linux's")
def test_the_service_finds_what_was_found_here(hearth: Hearth) -> None:
    """It begins in another folder, and without the variables of the shell that installed it."""
    variables = {
        **{"HF_HOME": "/models/a $b", "HF_ENDPOINT": "http://mirror", "HF_TOKEN": "hf_secret"},
        **as_systemd(hearth, "exit 0"),
    }
    argv = ("service", "install", "--print", "-m", "./own.gguf")

    unit = hearth(*argv, variables=variables).out

    assert f"--model {hearth.home / 'own.gguf'}\n" in unit
    assert 'Environment="HF_HOME=/models/a $b"\n' in unit  # systemd expands `$` in commands alone
    assert "Environment=HF_ENDPOINT=http://mirror\n" in unit
    assert "hf_secret" not in unit


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="systemd is Linux's")
@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("--host", "0.0.0.0"), 2, "without a key"),
        (("-m", "nonsense"), 4, "not known here"),
        (("--port", "99999"), 2, "at most 65535"),
    ],
)
def test_a_server_that_could_not_start_is_not_installed(
    hearth: Hearth, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    result = hearth("service", "install", *arguments, variables=as_systemd(hearth, "exit 0"))

    assert result.code == code
    assert complaint in result.err
    assert not unit_of(hearth).exists()


def test_without_a_service_status_exits_1(hearth: Hearth) -> None:
    result = hearth("service", "status")

    assert (result.code, result.out) == (1, "not installed\n")
    assert hearth("service", "remove").code == 0


def test_macos_gets_an_agent_that_starts_again_when_it_failed() -> None:
    argv = ["/p/python", "-m", "codehearth"]
    text = launchd_plist(argv, {"HEARTH_DATA": "/数据"}, log=Path("/数据/service.log"))

    agent = plistlib.loads(text.encode())

    assert agent["ProgramArguments"] == ["/p/python", "-m", "codehearth"]
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["EnvironmentVariables"] == {"HEARTH_DATA": "/数据"}
    assert agent["StandardErrorPath"] == "/数据/service.log"


def test_every_package_that_is_needed_has_a_licence(hearth: Hearth) -> None:
    """None that would bind those who pass CodeHearth on, and none that nobody stated."""
    found = {one.name: one for one in licensed()}

    assert {"codehearth", "click", "fastapi", "gradio", "xllamacpp"} <= found.keys()
    for one in found.values():
        assert one.license != "not stated", one
        assert "GPL" not in one.license.replace("LGPL", ""), one
    assert "MIT License" in hearth("licenses", "--texts").out


@needs("mandoc")
def test_the_manual_has_no_mistake() -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", str(MANUAL)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout + done.stderr == ""


@needs("groff")
def test_the_manual_shows_examples_and_options_as_they_are_typed() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", "-ww", str(MANUAL)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert "--max-tokens" in done.stdout
    assert "tar xf FILE && sh codehearth-bundle/install.sh" in " ".join(done.stdout.split())


@pytest.fixture
def shell_home(hearth: Hearth) -> Hearth:
    """A home whose PATH has `hearth`."""
    program = hearth.home / "bin" / "hearth"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(HEARTH)} "$@"\n')
    program.chmod(0o755)
    hearth.variables["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    hearth.variables["TERM"] = "xterm"
    return hearth


def typed(hearth: Hearth, argv: list[str], before: str, keys: str, wanted: str) -> str:
    """What a shell on a real terminal shows after `keys`; ends early once `wanted` is there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(hearth.home)
        os.execvpe(argv[0], argv, hearth.environment)  # noqa: S606
    shown = ""
    try:
        os.write(terminal, f"{before}; echo rea''dy\n".encode())
        shown = _until(terminal, "ready\r\n", 20)
        os.write(terminal, keys.encode())
        shown = _until(terminal, wanted, 20)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    return shown


def _until(terminal: int, wanted: str, seconds: float) -> str:
    shown, end = "", time.monotonic() + seconds
    while wanted not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 65536).decode("utf-8", "replace")
    return shown


@needs("bash")
def test_bash_completes_verbs_and_names_with_a_colon(shell_home: Hearth) -> None:
    argv = ["bash", "--norc", "--noprofile", "-i"]
    before = 'eval "$(hearth completion bash)"'

    assert "octor " in typed(shell_home, argv, before, "hearth doct\t", "octor ")
    made, model = Made(shell_home.data / "made"), MadeModel("starter", "q4_k_m")
    path = made.path_of(model)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    made.put(model, path)
    assert "4_k_m " in typed(shell_home, argv, before, "hearth rm starter:q\t", "4_k_m ")


@needs("zsh")
def test_zsh_completes_verbs(shell_home: Hearth) -> None:
    before = 'autoload -U compinit; compinit -u -D; eval "$(hearth completion zsh)"'

    assert "doctor" in typed(shell_home, ["zsh", "-f", "-i"], before, "hearth doct\t", "doctor")


@needs("fish")
def test_fish_completes_verbs_and_models(shell_home: Hearth) -> None:
    script = 'hearth completion fish | source; complete -C "hearth doct"; complete -C "hearth rm s"'
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=shell_home.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    words = [line.split()[0] for line in done.stdout.splitlines()]
    assert words == ["doctor", "starter"], done.stderr
