"""`hearth engines` on a plain machine: what a newcomer reads and what each mistake answers."""

from __future__ import annotations

import pytest

from tests.cli.command_line import STARTER, Hearth


def test_every_engine_is_listed_with_the_command_that_changes_something(hearth: Hearth) -> None:
    listed = hearth("engines", "--json")
    text = hearth("engines")

    names = [one["name"] for one in listed.document]
    own = ["llama.cpp", "llama-server", "transformers", "vllm", "lmdeploy", "fastllm"]
    assert names == [*own, "remote"]
    for name in ("transformers", "vllm", "fastllm"):
        assert f"{name}: `hearth engines install {name}`" in text.out
    assert "remote: `hearth serve --remotes " in text.out
    assert "switched off" in text.out  # the tests' own setting of llama_server


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("lmdeploy", "--cpu"), 2, "hearth engines install lmdeploy --cuda"),
        (("vlm",), 2, "vllm"),
        (("llama.cpp",), 2, "comes with CodeHearth"),
    ],
)
def test_what_cannot_be_installed_says_what_can(
    hearth: Hearth, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = hearth("engines", "install", *arguments)

    assert done.code == code
    assert told in done.err
    assert not (hearth.data / "engines").exists()


def test_without_a_compiler_nothing_is_fetched(hearth: Hearth) -> None:
    done = hearth("engines", "install", "llamacpp-native", "--cpu", variables={"PATH": "/nowhere"})

    assert done.code != 0
    assert "C++ compiler is missing" in done.err
    assert "apt install g++" in done.err or "xcode-select" in done.err
    assert not any(
        entry.is_dir() for entry in (hearth.data / "engines" / "llamacpp-native").iterdir()
    )


def test_a_registry_that_cannot_be_reached_is_told_with_what_helps(hearth: Hearth) -> None:
    nobody = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_RETRIES": "0",
        "PIP_FIND_LINKS": "",
    }

    done = hearth("engines", "install", "fastllm", "--cpu", variables=nobody)

    assert done.code != 0
    assert "install its packages" in done.err
    assert "pip config" in done.err
    assert not any(entry.is_dir() for entry in (hearth.data / "engines" / "fastllm").iterdir())


@pytest.mark.parametrize("engine", ["vllm", "fastllm", "lmdeploy", "transformers"])
def test_asked_for_and_not_installed_it_is_refused_with_the_command(
    hearth: Hearth, engine: str
) -> None:
    done = hearth("run", "starter:bf16", "x", variables={"HEARTH_ENGINE": engine})

    assert done.code != 0
    assert f"hearth engines install {engine}" in done.err


def test_a_gguf_file_is_refused_by_vllm_before_anything_starts(hearth: Hearth) -> None:
    file = hearth.home / "own.gguf"
    file.symlink_to(STARTER)
    done = hearth("run", "-m", str(file), "x", variables={"HEARTH_ENGINE": "vllm"})

    assert done.code != 0
    assert "vllm is started here for checkpoints of safetensors" in done.err
    assert "name a checkpoint of this model" in done.err and "auto" in done.err
