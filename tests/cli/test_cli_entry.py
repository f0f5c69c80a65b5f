"""How commands begin and end: help, errors, hints, exit codes, pipes and signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codehearth import __version__
from codehearth.cli.group import SECTIONS
from tests.cli.command_line import HEARTH, NOBODY, Hearth

HEAVY = (
    "fastapi",
    "uvicorn",
    "pydantic",
    "pydantic_core",
    "httpx2",
    "huggingface_hub",
    "modelscope_hub",
    "gguf",
    "numpy",
    "rich",
    "asyncio",
    "psutil",
    "sqlite3",
    "xllamacpp",
    "codehearth.gateway",
    "codehearth.models",
    "codehearth.engines",
    "codehearth.client",
)
VERBS = [verb for verbs in SECTIONS.values() for verb in verbs]


def test_help_lists_every_verb_with_a_line_about_it(hearth: Hearth) -> None:
    result = hearth("--help")

    assert result.code == 0
    for verb in VERBS:
        (line,) = [line for line in result.out.splitlines() if line.startswith(f"  {verb} ")]
        assert len(line.split()) > 3
        assert not line.endswith("..."), "its first sentence is too long for a line"


def test_help_imports_nothing_heavy(hearth: Hearth) -> None:
    """The budget is 150 ms on a laptop; it is kept by what is not imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "codehearth", "--help"],
        env=hearth.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    assert "codehearth.cli.options" in imported
    assert imported.isdisjoint(HEAVY), imported & set(HEAVY)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(hearth: Hearth, verb: str) -> None:
    result = hearth(verb, "--help")

    assert result.code == 0
    assert result.out.startswith(f"Usage: hearth {verb}")


def test_without_a_verb_help_is_shown(hearth: Hearth) -> None:
    assert hearth().out == hearth("--help").out


def test_the_version_is_told(hearth: Hearth) -> None:
    assert hearth("--version").out == f"hearth {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "meant"), [("serv", "serve"), ("list", "ls"), ("completions", "completion")]
)
def test_an_unknown_command_exits_2_and_suggests_one(
    hearth: Hearth, typed: str, meant: str
) -> None:
    result = hearth(typed)

    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"error: There is no command '{typed}'.\n\nhint: did you mean ")
    assert f"`hearth {meant}`" in result.err


def test_an_unknown_option_exits_2_and_suggests_one(hearth: Hearth) -> None:
    result = hearth("keys", "create", "me", "--rolle", "admin")

    assert result.code == 2
    assert "error: No such option '--rolle'.\n\nhint: did you mean --role?" in result.err


def test_a_bad_flag_is_named_as_the_settings_name_it(hearth: Hearth) -> None:
    result = hearth("serve", "--port", "many")

    assert result.code == 2
    assert result.err.startswith("error: --port is 'many', which is not a whole number.")


def test_a_broken_settings_file_stops_and_names_the_file(hearth: Hearth) -> None:
    config = hearth.home / ".config" / "hearth" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("prot = 1\n")

    result = hearth("ls")

    assert result.code == 2
    assert str(config) in result.err
    assert "'prot'" in result.err


def test_a_reader_that_has_had_enough_is_no_error(hearth: Hearth) -> None:
    """`hearth ls --all | head -1` once could end with a traceback about the pipe."""
    read_end, write_end = os.pipe()
    os.close(read_end)

    done = subprocess.run(
        [*HEARTH, "ls", "--all"],
        env=hearth.environment,
        cwd=hearth.home,
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)

    assert done.returncode == 0
    assert b"Error" not in done.stderr
    assert b"error" not in done.stderr


def test_ctrl_c_ends_with_130_and_no_traceback(hearth: Hearth) -> None:
    (hearth.data / "logs").mkdir(parents=True)
    (hearth.data / "logs" / "server.log").write_text("one line\n")

    with hearth.started("logs", "--follow") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_mistake_of_ours_is_told_without_a_traceback(hearth: Hearth, tmp_path: Path) -> None:
    """The traceback is for those who ask for it, by HEARTH_LOG_LEVEL=debug."""
    broken = tmp_path / "broken"
    (broken / "sqlite3").mkdir(parents=True)
    (broken / "sqlite3" / "__init__.py").write_text("raise RuntimeError('no database here')\n")
    variables = {"PYTHONPATH": f"{broken}:{hearth.environment['PYTHONPATH']}"}

    result = hearth("keys", "list", variables=variables)

    assert result.code == 1
    assert "error: hearth made a mistake: RuntimeError: no database here" in result.err


def test_nothing_is_coloured_when_nobody_watches(hearth: Hearth) -> None:
    assert "\x1b" not in hearth("ls", variables={"TERM": "xterm-256color"}).out


def test_a_server_that_does_not_answer_exits_5(hearth: Hearth) -> None:
    result = hearth("ps", variables={"HEARTH_URL": NOBODY})

    assert result.code == 5
    assert result.err.startswith(f"error: No server answers at {NOBODY}.")
    assert "hint: start one with `hearth serve`" in result.err


@pytest.mark.parametrize("verb", ["ps", "stop"])
def test_verbs_that_need_a_server_exit_5_without_one(hearth: Hearth, verb: str) -> None:
    result = hearth(verb, *(["starter"] if verb == "stop" else []))

    assert result.code == 5
    assert "hearth serve" in result.err


def test_an_address_that_is_none_is_refused(hearth: Hearth) -> None:
    result = hearth("ps", variables={"HEARTH_URL": "not an address"})

    assert result.code == 2
    assert "is not the address of a server" in result.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_gets_a_completion_script(hearth: Hearth, shell: str) -> None:
    result = hearth("completion", shell)

    assert result.code == 0
    assert "_HEARTH_COMPLETE" in result.out


def offered(hearth: Hearth, line: str) -> list[str]:
    """What bash is told for the last word of a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    return hearth(variables={"_HEARTH_COMPLETE": "bash_complete", **words}).out.splitlines()


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("hearth do", "plain,doctor"),
        ("hearth pull qwen2.5-coder-1.5", "plain,qwen2.5-coder-1.5b"),
        ("hearth pull qwen2.5-coder-1.5b:q4", "plain,qwen2.5-coder-1.5b:q4_k_m"),
        ("hearth serve -m star", "plain,starter"),
        ("hearth run --model star", "plain,starter"),
        ("hearth serve -m ./mod", "file,./mod"),
        ("hearth serve --engine fast", "plain,fastllm"),
    ],
)
def test_the_shell_completes_verbs_options_and_models(
    hearth: Hearth, line: str, offers: str
) -> None:
    assert offers in offered(hearth, line)


# How each shell is asked for what it would offer, the script loaded as a user loads it; and what it
# says. Zsh completes in its line editor alone: there it is asked who completes `hearth`.
_ASKED = {
    "bash": (
        'eval "$(hearth completion bash)"; COMP_WORDS=(hearth do); COMP_CWORD=1; '
        '_hearth_completion hearth; echo "${COMPREPLY[@]}"',
        "doctor",
    ),
    "fish": ('hearth completion fish | source; complete --do-complete "hearth do"', "doctor"),
    "zsh": (
        'autoload -Uz compinit; compinit -u -D; eval "$(hearth completion zsh)"; '
        "print ${_comps[hearth]}",
        "_hearth_completion",
    ),
}


@pytest.mark.parametrize("shell", sorted(_ASKED))
def test_a_shell_that_is_here_takes_the_script(hearth: Hearth, shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    tool = tmp_path / "hearth"
    tool.write_text(f'#!/bin/sh\nexec {" ".join(HEARTH)} "$@"\n')
    tool.chmod(0o755)
    environment = {**hearth.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    script, said = _ASKED[shell]
    argv = [program, "-c", script]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert said in done.stdout.split()
