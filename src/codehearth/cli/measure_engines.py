"""`hearth measure --engines`: how fast each engine is with a model on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from codehearth.cli.output import on_both, print_data, print_json, print_table, say, tell_warning
from codehearth.settings import Settings

if TYPE_CHECKING:
    from codehearth.lab.speeds import EngineSpeed, EngineSpeeds


def measure_engines(
    settings: Settings,
    model: str,
    engines: str,
    precisions: str | None,
    *,
    step: Callable[[str, float], None],
    as_json: bool,
) -> None:
    """Times the engines, keeps what was found, and prints it."""
    from codehearth.cli.shelf import store_of
    from codehearth.gateway.choosing import environments_of
    from codehearth.lab.measure_engines import run
    from codehearth.lab.parity.sides import Bench, sides_of
    from codehearth.lab.speeds import keep_speeds
    from codehearth.models.hardware import snapshot

    bench = Bench(
        store=store_of(settings),
        hardware=snapshot(),
        environments=environments_of(settings),
        llama_server=settings.llama_server,
        num_threads=settings.threads or None,
    )
    words = [tuple((text or "").replace(",", " ").split()) for text in (engines, precisions)]
    sides = sides_of(bench, (model,), *words, at_least=1, say=say)
    found = run(sides, bench.hardware, step=step)
    path = keep_speeds(found, settings.data / "lab")
    if as_json:
        print_json(found.as_document())
        return
    _print(found)
    for reason in found.noise.reasons:
        tell_warning(f"too noisy to trust the speeds: {reason}")
    say(f"\nkept: {path}")


def _print(found: EngineSpeeds) -> None:
    headings = ("ENGINE", "LOAD", "MEMORY", "FIRST TOKEN", "READ", "WRITE", "READ x8", "WRITE x8")
    print_table(headings, map(_cells, found.speeds))
    print_data("\nread, write: tokens/s of one request, and of 8 together")


def _cells(one: EngineSpeed) -> tuple[str, ...]:
    speeds = [
        f"{sample.median:.0f}"
        for streams in one.streams
        for sample in (streams.prefill_tokens_per_s, streams.decode_tokens_per_s)
    ]
    return (
        one.label,
        f"{one.load_s.median:.2f} s",
        on_both(one.memory.peak_bytes, one.memory.gpu_peak_bytes),
        f"{1000 * one.ttft_s.median:.0f} ms",
        *speeds,
    )
