"""The engine vLLM: what it loads, its command line, and vLLM's own word on that."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from engine_environments import installed
from engines.asking import Facts, value_of

from codehearth.engines import choose_engine
from codehearth.engines.base import Adapter, Available, Launch, Parallel, Unavailable
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.installed import Broken, Installed, NotInstalled
from codehearth.engines.tool_formats import TOOL_FORMATS
from codehearth.engines.vllm import Vllm, arguments
from codehearth.errors import EngineMissing, Unsupported

ENDPOINT = Endpoint(Path("/tmp/h/e.sock"), "http://engine", "the-key")
LAUNCH = Launch(Path("/m"), "m", 8192, 4, num_threads=2, stored_precision="BF16", kv_bytes=1 << 28)
# Everything that a team with GPUs asks for, at once.
FULL = replace(
    LAUNCH,
    precision="fp16",
    allows_code=True,
    adapters=(Adapter("ours", Path("/a")), Adapter("theirs", Path("/b"))),
    parallel=Parallel(4, 2, over_ray=True),
    gpu_share=0.5,
    speculates=True,
)


def made(device: str = "cpu") -> Installed:
    facts = {"torch": "2.13.0", "devices": ["NVIDIA H100"] if device == "cuda" else ["cpu"]}
    python = Path("/data/engines/vllm/0a/bin/python")
    return Installed("vllm", device, python, "0.32.0", "digest", facts)


def test_it_says_what_installs_it_and_what_it_has() -> None:
    missing = Vllm(NotInstalled()).availability()
    broken = Vllm(Broken("its files are gone")).availability()

    assert isinstance(missing, Unavailable) and "hearth engines install vllm" in missing.hint
    assert isinstance(broken, Unavailable) and "its files are gone" in broken.reason
    assert Vllm(made()).availability() == Available("vllm 0.32.0, torch 2.13.0, cpu")


@pytest.mark.parametrize(
    ("facts", "device", "reason"),
    [
        (Facts(), "cpu", None),
        (Facts(key_size=48), "cpu", "48"),
        (Facts(key_size=48), "cuda", None),
        (Facts(kind="gguf"), "cpu", "safetensors"),
        (Facts(is_embedding_model=True), "cuda", "embeddings"),
    ],
)
def test_what_it_cannot_load_is_told_before_it_starts(
    facts: Facts, device: str, reason: str | None
) -> None:
    told = Vllm(made(device)).can_load(facts)

    assert told is None if reason is None else reason in str(told)


def test_on_a_cpu_nothing_is_compiled_and_memory_is_as_planned() -> None:
    command = Vllm(made()).command(LAUNCH, ENDPOINT)

    assert value_of(command.argv, "--dtype") == "bfloat16"
    assert "--enforce-eager" in command.argv
    # Whole blocks of 128 tokens, and one that vLLM keeps for itself.
    assert int(value_of(command.argv, "--kv-cache-memory-bytes")) == (1 << 28) * 257 // 256
    assert "the-key" not in command.argv
    assert command.environment["VLLM_API_KEY"] == "the-key"
    assert command.environment["OMP_NUM_THREADS"] == "2"


def test_on_gpus_it_takes_the_planned_share_and_all_that_was_asked_for() -> None:
    argv, why = arguments(FULL, on_gpu=True)

    assert value_of(argv, "--gpu-memory-utilization") == "0.500"
    assert value_of(argv, "--tensor-parallel-size") == "4"
    assert value_of(argv, "--pipeline-parallel-size") == "2"
    assert value_of(argv, "--distributed-executor-backend") == "ray"
    assert json.loads(value_of(argv, "--speculative-config"))["method"] == "ngram"
    assert argv[argv.index("--lora-modules") + 1 :][:2] == ("ours=/a", "theirs=/b")
    assert {"--enable-lora", "--trust-remote-code", "--enable-prefix-caching"} <= set(argv)
    assert "each layer on 4 GPUs" in why


@pytest.mark.parametrize(
    ("asked", "stored", "on_gpu", "dtype"),
    [
        ("auto", "F16", False, "bfloat16"),
        ("auto", "F16", True, "float16"),
        ("auto", "F32", False, "float32"),
        ("auto", "I32 (GPTQ)", True, "auto"),
        ("fp16", "BF16", False, "float16"),
        ("fp32", "BF16", False, "float32"),
    ],
)
def test_it_computes_in_what_was_asked_for_else_in_what_is_stored(
    asked: str, stored: str, on_gpu: bool, dtype: str
) -> None:
    launch = replace(LAUNCH, precision=asked, stored_precision=stored)

    assert value_of(arguments(launch, on_gpu=on_gpu)[0], "--dtype") == dtype


@pytest.mark.parametrize("changes", [{"precision": "int8"}, {"kv_precision": "int4"}])
def test_what_it_does_not_do_is_refused_before_it_starts(changes: dict[str, str]) -> None:
    with pytest.raises(Unsupported) as told:
        arguments(replace(LAUNCH, **changes), on_gpu=True)  # type: ignore[arg-type]

    assert told.value.hint


def test_asked_for_and_not_there_it_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing) as told:
        choose_engine(Facts(), wanted="vllm", environments=tmp_path)

    assert "hearth engines install vllm" in (told.value.hint or "")


PARSE = """
import sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.tool_parsers import ToolParserManager
from vllm.utils.argparse_utils import FlexibleArgumentParser
for line in sys.stdin:
    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(line.rstrip("\\n").split("\\x1f"))
    validate_parsed_serve_args(parsed)
    if parsed.tool_call_parser:
        ToolParserManager.get_tool_parser(parsed.tool_call_parser)
    print(parsed.tensor_parallel_size, parsed.served_model_name, parsed.uds)
"""


def test_vllms_own_parser_takes_every_command_line() -> None:
    """Its CPU build has the parser of its CUDA build."""
    python = installed("vllm").python
    lines = [
        "\x1f".join(arguments(launch, on_gpu=on_gpu)[0])
        for launch, on_gpu in ((LAUNCH, False), (LAUNCH, True), (FULL, True))
    ]
    lines += [
        "\x1f".join(arguments(replace(LAUNCH, own_template="".join(one.marks)), on_gpu=True)[0])
        for one in TOOL_FORMATS
    ]

    answer = subprocess.run(
        [str(python), "-P", "-c", PARSE],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    told = [line for line in answer.stdout.splitlines() if line.endswith("{socket}")]
    expected = ["1 ['m'] {socket}", "1 ['m'] {socket}", "4 ['m'] {socket}"]
    expected += ["1 ['m'] {socket}"] * len(TOOL_FORMATS)
    assert told == expected, answer.stderr[-2000:]
