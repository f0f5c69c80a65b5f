"""The engine transformers: its answers and command line, without its environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from engines.asking import Facts, value_of

from codehearth.engines import choose_engine
from codehearth.engines.base import Available, Launch, Unavailable
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.installed import Broken, Installed, NotInstalled, State
from codehearth.engines.transformers import Transformers, dtype_for
from codehearth.errors import EngineMissing, Unsupported

CPU = {"torch": "2.13.0+cpu", "devices": ["cpu"], "quantisers": ["bitsandbytes"]}
GPU = CPU | {"devices": ["cpu", "cuda: A GPU"]}
ENDPOINT = Endpoint(Path("/tmp/h/e.sock"), "http://engine", "the-key")


def installed(facts: dict[str, object] = CPU) -> Installed:
    python = Path("/data/engines/transformers/0a/bin/python")
    return Installed("transformers", "cpu", python, "5.23.0", "digest", facts)


def argv_of(launch: Launch, facts: dict[str, object] = CPU) -> tuple[str, ...]:
    return Transformers(installed(facts)).command(launch, ENDPOINT).argv


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (NotInstalled(), "hearth engines install transformers"),
        (Broken("its files are gone"), "makes it anew"),
    ],
)
def test_without_an_environment_it_says_what_installs_it(state: State, told: str) -> None:
    availability = Transformers(state).availability()

    assert isinstance(availability, Unavailable)
    assert told in availability.hint


def test_with_one_it_says_what_it_has() -> None:
    assert Transformers(installed()).availability() == Available(
        "transformers 5.23.0, torch 2.13.0+cpu, cpu"
    )
    assert not Transformers(installed()).sees_gpus
    assert Transformers(installed(GPU)).sees_gpus


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (Facts(), None),
        (Facts(architecture="codegen", precision="F32"), None),
        (Facts(kind="gguf", precision="Q8_0"), None),
        (Facts(kind="gguf", architecture="deepseek2"), "deepseek2"),
        (Facts(architecture="chatglm"), "ChatGLM"),
        (Facts(is_embedding_model=True), "embeddings"),
        (Facts(precision="INT4 (GPTQ)"), "gptqmodel"),
    ],
)
def test_what_it_can_load(weights: Facts, reason: str | None) -> None:
    said = Transformers(installed()).can_load(weights)

    assert said == reason if reason is None else reason in str(said)


def test_packed_weights_load_where_their_package_is() -> None:
    facts = CPU | {"quantisers": ["gptqmodel"]}

    assert Transformers(installed(facts)).can_load(Facts(precision="INT4 (GPTQ)")) is None


@pytest.mark.parametrize(
    ("asked", "stored", "on_gpu", "dtype"),
    [
        ("auto", "BF16", False, "bf16"),
        ("auto", "F32", True, "fp32"),
        ("auto", "F16", True, "fp16"),
        ("auto", "F16", False, "bf16"),  # a CPU is slow in fp16
        ("auto", "Q8_0", False, "bf16"),
        ("fp16", "BF16", False, "fp16"),
        ("fp32", "BF16", True, "fp32"),
        ("int4", "BF16", True, "bf16"),
    ],
)
def test_a_precision_becomes_what_is_computed_in(
    asked: str, stored: str, on_gpu: bool, dtype: str
) -> None:
    chosen, why = dtype_for(asked, stored, on_gpu=on_gpu)

    assert chosen == dtype
    assert bool(why) == (asked not in ("bf16", "fp16", "fp32"))  # a choice has its reason


def test_the_command_line_holds_the_launch_and_not_the_key() -> None:
    launch = Launch(Path("/m"), "tiny", 512, 3, 2, batch_tokens=64, stored_precision="F32")
    ours = {"PATH": "/bin", "HF_TOKEN": "hf_secret"}

    command = Transformers(installed(), ours).command(launch, ENDPOINT)

    assert command.argv[0] == "/data/engines/transformers/0a/bin/python"
    for flag, value in (
        ("--model", "/m"), ("--context-tokens", "512"), ("--slots", "3"), ("--threads", "2"),
        ("--batch-tokens", "64"), ("--device", "cpu"), ("--dtype", "fp32"),
    ):  # fmt: skip
        assert value_of(command.argv, flag) == value
    assert "the-key" not in command.argv and "hf_secret" not in command.environment.values()
    assert "--quantise" not in command.argv and "--allow-code" not in command.argv


def test_gpus_quantising_and_code_are_asked_for_by_name() -> None:
    launch = Launch(Path("/m"), "m", 512, 1, 1, gpu_layers=99, stored_precision="BF16")

    on_gpu = argv_of(replace(launch, precision="int4", allows_code=True), GPU)

    assert value_of(on_gpu, "--device") == "gpu"
    assert value_of(on_gpu, "--quantise") == "int4"
    assert "--allow-code" in on_gpu
    assert value_of(argv_of(launch), "--device") == "cpu"  # an environment without CUDA
    assert value_of(argv_of(replace(launch, gpu_layers=0), GPU), "--device") == "cpu"


def test_a_checkpoint_without_its_engine_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing) as told:
        choose_engine(Facts(), llama_server="off", environments=tmp_path)

    assert "hearth engines install transformers" in str(told.value.hint)


def test_gguf_files_go_to_llamacpp_unless_another_engine_is_asked_for(tmp_path: Path) -> None:
    chosen = choose_engine(Facts(kind="gguf"), llama_server="off", environments=tmp_path)

    assert chosen.engine.name == "llama.cpp"
    assert chosen.why == ("engine llama.cpp: the fastest one here for GGUF files",)
    with pytest.raises(EngineMissing, match="transformers"):
        choose_engine(
            Facts(kind="gguf"), wanted="transformers", llama_server="off", environments=tmp_path
        )


def test_an_engine_that_was_asked_for_and_cannot_load_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="GGUF files only"):
        choose_engine(Facts(), wanted="llama.cpp", llama_server="off", environments=tmp_path)
