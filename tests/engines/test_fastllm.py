"""The engine fastllm: what it loads, its command line, and what its worker refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from engines.asking import Facts

from codehearth.engines.base import Adapter, Available, Launch, Unavailable
from codehearth.engines.endpoint import Endpoint
from codehearth.engines.fastllm import Fastllm
from codehearth.engines.installed import Installed, NotInstalled
from codehearth.errors import Unsupported
from codehearth.workers.fastllm.loop import Loop
from codehearth.workers.transformers.job import Job, Sampling
from codehearth.workers.transformers.listener import Refused

ENDPOINT = Endpoint(Path("/tmp/h/e.sock"), "http://engine", "the-key")
LAUNCH = Launch(Path("/m"), "m", 4096, 2, num_threads=2)


def engine() -> Fastllm:
    python = Path("/data/engines/fastllm/0a/bin/python")
    return Fastllm(Installed("fastllm", "cpu", python, "1.9.0", "digest", {"devices": ["cpu"]}))


def test_it_says_what_installs_it_and_what_it_has() -> None:
    missing = Fastllm(NotInstalled()).availability()

    assert isinstance(missing, Unavailable) and "hearth engines install fastllm" in missing.hint
    assert engine().availability() == Available("ftllm 1.9.0, cpu")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (Facts(), None),
        (Facts(output_bytes=0), "ties it to the embedding"),
        (Facts(key_size=32), "32"),
        (Facts(kind="gguf"), "safetensors"),
        (Facts(architecture="gpt_bigcode"), "gpt_bigcode"),
    ],
)
def test_what_would_kill_it_is_refused_before_it_starts(facts: Facts, reason: str | None) -> None:
    told = engine().can_load(facts)

    assert told is None if reason is None else reason in str(told)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("auto", "float16"), ("fp16", "float16"), ("int8", "int8"), ("int4", "int4")],
)
def test_a_precision_is_its_dtype(precision: str, dtype: str) -> None:
    argv = engine().command(replace(LAUNCH, precision=precision), ENDPOINT).argv

    assert argv[argv.index("--dtype") + 1] == dtype
    assert "the-key" not in argv


@pytest.mark.parametrize(
    "changes", [{"precision": "bf16"}, {"adapters": (Adapter("ours", Path("/a")),)}]
)
def test_what_it_does_not_do_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(Unsupported) as told:
        engine().command(replace(LAUNCH, **changes), ENDPOINT)  # type: ignore[arg-type]

    assert told.value.hint


@pytest.mark.parametrize(
    ("job", "name"),
    [
        ({"num_top": 2}, "logprobs"),
        ({"sampling": Sampling(bias={1: 5.0})}, "logit_bias"),
        ({"sampling": Sampling(presence_penalty=1.0)}, "presence_penalty"),
        ({"sampling": Sampling(min_p=0.1)}, "min_p"),
    ],
)
def test_what_its_sampler_does_not_know_is_refused_by_name(
    job: dict[str, object], name: str
) -> None:
    """Left out without a word, the answer would be another one than was asked for."""
    asked = {"prompt": [1], "max_new_tokens": 1, "sampling": Sampling(), "stops": (), "out": None}
    loop = Loop(None, num_slots=1, deliver=print)  # type: ignore[arg-type]

    with pytest.raises(Refused) as told:
        loop.add(Job(**asked | job))  # type: ignore[arg-type]

    assert told.value.status == 501 and name in str(told.value)
