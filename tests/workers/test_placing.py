"""Which device, and which number format on it: machines that are not at hand."""

from __future__ import annotations

import pytest

from codehearth.workers.transformers.placing import Gpu, Place, dtype_on, place_for

AMPERE, TURING = Gpu("A100", (8, 0)), Gpu("T4", (7, 5))


@pytest.mark.parametrize(
    ("wanted", "gpus", "has_mps", "place"),
    [
        ("cpu", [AMPERE], True, Place("cpu")),
        ("gpu", [AMPERE], False, Place("cuda", {"": 0})),
        ("gpu", [AMPERE, TURING], False, Place("cuda", "auto")),
        ("gpu", [], True, Place("mps", {"": "mps"})),
        ("gpu", [], False, None),
    ],
)
def test_a_model_goes_where_there_is_something(
    wanted: str, gpus: list[Gpu], has_mps: bool, place: Place | None
) -> None:
    assert place_for(wanted, gpus, has_mps=has_mps) == place


@pytest.mark.parametrize(
    ("place", "asked", "gpus", "dtype", "told"),
    [
        (Place("cuda"), "bf16", [AMPERE], "bf16", ""),
        (Place("cuda"), "bf16", [AMPERE, TURING], "fp16", "T4 does not compute in bf16"),
        (Place("cuda"), "fp32", [TURING], "fp32", ""),
        (Place("cpu"), "bf16", [TURING], "bf16", ""),
        (Place("mps"), "bf16", [], "bf16", ""),
    ],
)
def test_bf16_becomes_fp16_where_a_gpu_lacks_it(
    place: Place, asked: str, gpus: list[Gpu], dtype: str, told: str
) -> None:
    found, why = dtype_on(place, asked, gpus)

    assert found == dtype and told in why and bool(why) == bool(told)


def test_a_cpu_is_not_named_to_transformers() -> None:
    assert Place("cpu").options == {}
    assert Place("cuda", "auto").options == {"device_map": "auto"}
