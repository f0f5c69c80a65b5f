"""Whether a model fits is told as if those in memory had left, since they would."""

from __future__ import annotations

from codehearth.gateway.page.fits import as_if_left
from codehearth.models.hardware import Gpu, Hardware


def test_what_models_hold_on_gpus_counts_as_free_and_no_more_than_there_is() -> None:
    gpus = (Gpu(0, "one", "cuda", 24, 4), Gpu(1, "two", "cuda", 24, 20))
    here = Hardware("Linux", "x86_64", "a CPU", 8.0, 4, 64, 32, gpus)

    assert [gpu.free_bytes for gpu in as_if_left(here, 22).gpus] == [24, 22]
    assert [gpu.free_bytes for gpu in as_if_left(here, 99).gpus] == [24, 24]
    assert as_if_left(here, 0) == here
