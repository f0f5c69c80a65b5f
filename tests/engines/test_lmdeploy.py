"""The engine LMDeploy: its command line, and its own parser's word on that. It needs a GPU."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from engine_environments import lmdeploy_parser
from engines.asking import Facts, value_of

from codehearth.engines.base import Adapter, Available, Launch, Parallel, Unavailable
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.installed import Installed, NotInstalled
from codehearth.engines.lmdeploy import Lmdeploy, arguments
from codehearth.engines.tool_formats import TOOL_FORMATS
from codehearth.errors import Unsupported

ENDPOINT = Endpoint(Path("/tmp/h/e.sock"), "http://engine", "the-key")
LAUNCH = Launch(Path("/m"), "m", 8192, 64, num_threads=2, stored_precision="BF16", gpu_share=0.5)
FULL = replace(
    LAUNCH,
    precision="fp16",
    kv_precision="int8",
    parallel=Parallel(tensor=4),
    adapters=(Adapter("ours", Path("/a")), Adapter("theirs", Path("/b"))),
)


def made(*gpus: str) -> Installed:
    python = Path("/data/engines/lmdeploy/0a/bin/python")
    return Installed("lmdeploy", "cuda", python, "0.18.0", "digest", {"devices": list(gpus)})


def test_it_says_that_it_needs_a_gpu_installed_or_not() -> None:
    missing, without_gpu = (Lmdeploy(state).availability() for state in (NotInstalled(), made()))

    assert isinstance(missing, Unavailable) and "no CPU path" in missing.reason
    assert "hearth engines install lmdeploy" in missing.hint
    assert isinstance(without_gpu, Unavailable) and "sees no GPU" in without_gpu.reason
    assert Lmdeploy(made("NVIDIA H100")).availability() == Available("lmdeploy 0.18.0, NVIDIA H100")


def test_its_command_line_has_all_that_was_asked_for() -> None:
    argv, why = arguments(FULL)

    assert value_of(argv, "--backend") == "pytorch"  # adapters are its PyTorch engine's
    assert value_of(argv, "--tp") == "4"
    assert value_of(argv, "--quant-policy") == "int8"
    assert value_of(argv, "--session-len") == "8192"
    assert value_of(argv, "--cache-max-entry-count") == "0.500"
    assert argv[argv.index("--adapters") + 1 :][:2] == ("ours=/a", "theirs=/b")
    assert value_of(argv, "--server-name") == "127.0.0.1"
    assert "keys and values in int8" in why


def test_the_houses_key_is_not_among_its_arguments() -> None:
    """Other users of the machine can read them."""
    command = Lmdeploy(made("a GPU")).command(LAUNCH, ENDPOINT)

    assert "the-key" not in command.argv
    assert value_of(command.argv, "--api-keys") == "{key}"
    assert value_of(command.argv, "--backend") == "turbomind"


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "int4"},
        {"speculates": True},
        {"parallel": Parallel(2, 2)},
        {"parallel": Parallel(over_ray=True)},
    ],
)
def test_what_it_does_not_do_is_refused_before_it_starts(changes: dict[str, object]) -> None:
    with pytest.raises(Unsupported) as told:
        arguments(replace(LAUNCH, **changes))  # type: ignore[arg-type]

    assert told.value.hint


def test_gguf_is_not_for_it() -> None:
    assert Lmdeploy(made("a GPU")).can_load(Facts()) is None
    assert "safetensors" in str(Lmdeploy(made("a GPU")).can_load(Facts(kind="gguf")))


PARSE = """
import sys
from lmdeploy.cli.cli import CLI
from lmdeploy.cli.serve import SubCliServe
from lmdeploy.serve.parsers.tool_parser import ToolParserManager
SubCliServe.add_parsers()
for line in sys.stdin:
    parsed = CLI.parser.parse_args(line.rstrip("\\n").split("\\x1f"))
    if parsed.tool_call_parser:
        assert parsed.tool_call_parser in ToolParserManager.module_dict, parsed.tool_call_parser
    print("parsed", parsed.backend, parsed.tp, parsed.quant_policy, parsed.api_keys)
"""


def test_lmdeploys_own_parser_takes_every_command_line() -> None:
    python, packages = lmdeploy_parser()
    calling = [replace(LAUNCH, own_template="".join(one.marks)) for one in TOOL_FORMATS]
    lines = ["\x1f".join(arguments(launch)[0]) for launch in (LAUNCH, FULL, *calling)]
    lines = [line.replace("{port}", "23333") for line in lines]  # as the translator does

    answer = subprocess.run(
        [str(python), "-P", "-c", PARSE],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=300,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)},
        check=False,
    )

    told = [line for line in answer.stdout.splitlines() if line.startswith("parsed")]
    assert told == [
        "parsed turbomind 1 0 ['{key}']",
        "parsed pytorch 4 8 ['{key}']",
        *["parsed turbomind 1 0 ['{key}']"] * len(calling),
    ], answer.stderr[-2000:]
