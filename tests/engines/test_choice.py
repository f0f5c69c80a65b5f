"""Which engine is chosen where several are here, and why; and what a newcomer is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from engines.asking import Facts, pretend

from codehearth.engines import choose_engine
from codehearth.engines.overview import overview


def test_on_a_cpu_transformers_comes_before_vllm_and_fastllm(tmp_path: Path) -> None:
    for engine in ("vllm", "fastllm", "transformers"):
        pretend(tmp_path, engine, devices=["cpu"])

    choice = choose_engine(Facts(), environments=tmp_path)

    assert choice.engine.name == "transformers" and "transformers" in choice.why[0]


def test_on_gpus_vllm_comes_first(tmp_path: Path) -> None:
    pretend(tmp_path, "transformers", devices=["cpu"])
    pretend(tmp_path, "lmdeploy", device="cuda", devices=["NVIDIA H100"])
    pretend(tmp_path, "vllm", device="cuda", devices=["NVIDIA H100"])

    choice = choose_engine(Facts(), environments=tmp_path)

    assert choice.engine.name == "vllm"
    assert choice.why == ("engine vllm: the fastest one here for many requests on GPUs",)


def test_what_the_first_cannot_load_goes_to_the_next(tmp_path: Path) -> None:
    pretend(tmp_path, "fastllm", devices=["cpu"])
    pretend(tmp_path, "vllm", devices=["cpu"])

    assert choose_engine(Facts(), environments=tmp_path).engine.name == "vllm"
    assert choose_engine(Facts(key_size=192), environments=tmp_path).engine.name == "vllm"


def test_one_that_was_built_here_comes_before_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    folder = pretend(tmp_path, "llamacpp-native", programs=["llama-server"])
    server = folder / "bin" / "llama-server"
    options = "--model --host x.sock --ctx-size --parallel --threads --alias LLAMA_API_KEY"
    server.write_text(f"#!/bin/sh\necho 'version: 7 (x) {options}'\n")
    server.chmod(0o755)
    gguf = Facts(kind="gguf")

    chosen = choose_engine(gguf, environments=tmp_path)
    switched_off = choose_engine(gguf, llama_server="off", environments=tmp_path)

    assert chosen.engine.name == "llama-server"
    assert "built for this machine" in chosen.why[0]
    assert switched_off.engine.name == "llama.cpp"


def test_a_newcomer_sees_every_engine_and_one_command_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    listed = {
        one.name: one
        for one in overview(llama_server_setting="auto", environments=tmp_path, remotes={})
    }

    assert list(listed) == [
        "llama.cpp",
        "llama-server",
        "transformers",
        "vllm",
        "lmdeploy",
        "fastllm",
        "remote",
    ]
    assert listed["llama.cpp"].state == "ready" and listed["llama.cpp"].hint is None
    remote = listed.pop("remote")
    assert remote.state == "missing" and "`hearth serve --remotes " in (remote.hint or "")
    for name, one in listed.items():
        if name != "llama.cpp":
            recipe = "llamacpp-native" if name == "llama-server" else name
            assert one.state == "missing"
            assert f"`hearth engines install {recipe}`" in (one.hint or "")
    assert "needs an NVIDIA GPU" in listed["lmdeploy"].detail
