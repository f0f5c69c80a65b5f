"""What the server counts, for Prometheus. Names follow Prometheus's conventions: base units."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from codehearth.pool.pool import Pool

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One registry for each server, so that tests may have several in one process."""

    def __init__(self, pool: Pool) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(PoolCollector(pool))
        self.requests = Counter(
            "hearth_requests",
            "HTTP requests by route and status.",
            ["route", "status"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "hearth_requests_in_flight", "HTTP requests under way.", registry=self.registry
        )
        self.first_token_s = Histogram(
            "hearth_time_to_first_token_seconds",
            "From the request's arrival to the first token.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.duration_s = Histogram(
            "hearth_generation_seconds",
            "From the request's arrival to the end of its answer.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.prompt_tokens = Counter(
            "hearth_prompt_tokens", "Tokens of prompts.", ["model"], registry=self.registry
        )
        self.generated_tokens = Counter(
            "hearth_generated_tokens", "Tokens generated.", ["model"], registry=self.registry
        )
        self.suggestions = Counter(
            "hearth_suggestions",
            "Suggestions of editors by what became of them: shown, accepted or dismissed.",
            ["model", "language", "fate"],
            registry=self.registry,
        )
        self.cancelled = Counter(
            "hearth_cancelled_requests",
            "Generations stopped because the client left.",
            registry=self.registry,
        )


class PoolCollector(Collector):
    """Reads the pool when it is asked, so no number is kept twice."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily("hearth_queue", "Requests that wait.", labels=["model"])
        serving = GaugeMetricFamily("hearth_model_in_flight", "In the engine.", labels=["model"])
        memory = GaugeMetricFamily(
            "hearth_model_memory_bytes", "Measured memory of a model's engine.", labels=["model"]
        )
        for status in self._pool.status():
            waiting.add_metric([status.name], status.waiting)
            serving.add_metric([status.name], status.in_flight)
            memory.add_metric([status.name], status.memory_bytes)
        yield from (waiting, serving, memory)
        counters = self._pool.counters
        for name in ("loads", "failed_loads", "evictions", "deaths", "kills", "refusals"):
            yield CounterMetricFamily(
                f"hearth_{name}",
                f"Models and requests: {name.replace('_', ' ')}.",
                value=getattr(counters, f"num_{name}"),
            )
        yield CounterMetricFamily(
            "hearth_load_seconds", "Time spent loading.", value=counters.load_seconds
        )
