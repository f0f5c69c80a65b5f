"""A result as `hearth measure` writes it, to change one thing in."""

from __future__ import annotations

from dataclasses import replace

from codehearth.lab.result import (
    Divergence,
    Estimate,
    File,
    Greedy,
    Interval,
    Loss,
    Memory,
    ModelFacts,
    Noise,
    Precision,
    Result,
    Sample,
    Streams,
    TextFacts,
    TimingFacts,
)


def sample(median: float) -> Sample:
    values = (0.98 * median, median, 1.02 * median)
    return Sample(median, values[0], values[-1], values)


def interval(value: float) -> Interval:
    return Interval(value, 0.9 * value, 1.1 * value)


def precision(
    name: str, *, kl: float, speed: float, megabytes: float, agreement: float = 0.95
) -> Precision:
    """`kl` 0 is the reference."""
    loss = Loss(Estimate(12.0 + kl, 0.4))
    if kl:
        loss = replace(
            loss,
            log_ratio=Estimate(kl, 0.001),
            kl=Divergence(interval(kl), interval(10 * kl), 100 * kl),
            top_1_agreement=interval(agreement),
            top_5_agreement=interval(agreement),
            greedy=Greedy(24, 32, Interval(0.7, 0.5, 0.85), 24.5),
        )
    streams = tuple(
        Streams(number, sample(10 * speed), sample(speed * number**0.5)) for number in (1, 8)
    )
    return Precision(
        precision=name,
        is_reference=not kl,
        file=File(f"{name}.gguf", int(1e6 * megabytes), name),
        bits_per_weight=megabytes,
        load_s=sample(0.2),
        ttft_s=sample(25 / speed),
        streams=streams,
        memory=Memory(int(2e6 * megabytes), int(2.1e6 * megabytes)),
        loss=loss,
        kl_quantiles=((0.0, 0.0), (0.5, kl), (1.0, 100 * kl)) if kl else (),
    )


PRECISIONS = (
    precision("f16", kl=0, speed=20, megabytes=16),
    precision("q8_0", kl=0.0005, speed=40, megabytes=8.5),
    precision("q5_k_m", kl=0.006, speed=50, megabytes=5.7),
    precision("q4_k_m", kl=0.02, speed=60, megabytes=4.9),
    precision("q2_k", kl=0.3, speed=55, megabytes=3.2, agreement=0.75),
)


def result(**changes: object) -> Result:
    found = Result(
        id="20260101-000000-model",
        created_at="2026-01-01T00:00:00+00:00",
        command=("hearth", "measure", "model"),
        seed=0,
        duration_s=60.0,
        versions={"codehearth": "0.1.0"},
        machine={"cpu_name": "a processor", "num_cores": 2.0},
        noise=Noise(0.1, 0.02, False),
        model=ModelFacts("model", "path", "qwen2", 8_000_000, 4096, 4096, "mit"),
        text=TextFacts("a text", "0" * 64, 1000, 400, 5, 64, 155),
        timing=TimingFacts("llama.cpp", 2, 3, 256, 64, 512, 8),
        reference="f16",
        precisions=PRECISIONS,
    )
    return replace(found, **changes)  # type: ignore[arg-type]
