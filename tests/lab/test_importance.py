"""Importance matrices: made of a text, read, and what quantising does with them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from codehearth.errors import BadWeights, InvalidRequest
from codehearth.lab import calibrate
from codehearth.lab.candidates import Listener, Place, candidates_of
from codehearth.lab.importance import Importance, matrix_of, read_importance, write_importance
from codehearth.lab.layout import layout
from codehearth.lab.low_bits import LOW_BIT_RECIPES
from codehearth.lab.mixture import Model, Shape, recipe_of, tensor_types
from codehearth.lab.quantize import run
from codehearth.lab.source import gguf_source
from codehearth.lab.texts import Text
from codehearth.models.hardware import snapshot
from codehearth.models.made import Made, MadeModel
from codehearth.models.store import Store
from tests.cli.command_line import STARTER, Hearth
from tests.lab.test_quantize import room
from tests.tiny_models import Shape as ModelShape
from tests.tiny_models import make_gguf

TEXT = Text("calls.py", "def add(first, second):\n    return first + second\n\n\n" * 240)


def calibrated(model: Path, folder: Path, text: Text = TEXT) -> Importance:
    return calibrate.run(model, text, folder, num_threads=1, progress=lambda *_: None)


def quantised(model: Path, precision: str, folder: Path, importance: Importance | None) -> Path:
    laid_out = layout(gguf_source(model), recipe_of(precision), importance)
    made = Made(folder)
    return run(
        laid_out, made, MadeModel("model", precision), num_threads=1, free_bytes=room,
        progress=lambda _: None,
    ).path  # fmt: skip


@pytest.fixture(scope="module")
def importance(tmp_path_factory: pytest.TempPathFactory) -> Importance:
    """The starter's, of a short text."""
    return calibrated(STARTER, tmp_path_factory.mktemp("importance"))


def test_every_matrix_of_a_layer_gets_one(importance: Importance) -> None:
    matrices = {
        tensor.name: tensor.shape[0]
        for tensor in gguf.GGUFReader(STARTER).tensors
        if tensor.name.startswith("blk.") and len(tensor.shape) > 1
    }

    assert {name: found.size for name, found in importance.values.items()} == matrices
    assert importance.title == "calls.py"
    assert importance.num_chunks >= 4
    # What enters queries, keys and values is the same.
    query, key = (importance.values[f"blk.0.attn_{letter}.weight"] for letter in "qk")
    assert np.array_equal(query, key) and query.min() > 0


def test_a_matrix_is_kept_for_the_next_time(importance: Importance) -> None:
    again = calibrated(STARTER, importance.path.parent)

    assert again.path == importance.path and again.sha256 == importance.sha256


def weighed_error(path: Path, importance: Importance) -> float:
    """Squared errors against the starter, each column as important as it is."""
    exact = {tensor.name: tensor for tensor in gguf.GGUFReader(STARTER).tensors}
    total = 0.0
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.name in importance.values:
            before, after = (
                gguf.quants.dequantize(one.data, one.tensor_type)
                for one in (exact[tensor.name], tensor)
            )
            total += float((importance.values[tensor.name] * (after - before) ** 2).sum())
    return total


def test_what_matters_is_kept_better(importance: Importance, tmp_path: Path) -> None:
    without = quantised(STARTER, "q2_k", tmp_path / "without", None)
    with_it = quantised(STARTER, "q2_k", tmp_path / "with", importance)

    assert weighed_error(with_it, importance) < 0.8 * weighed_error(without, importance)
    fields = gguf.GGUFReader(with_it).fields
    assert fields["quantize.imatrix.dataset"].contents() == "calls.py"
    assert fields["quantize.imatrix.entries_count"].contents() == len(importance.values)


def test_the_command_makes_what_needs_one_and_tells_of_it(hearth: Hearth) -> None:
    (hearth.home / "calls.py").write_text(TEXT.content)
    refused = hearth("quantize", "starter", "--to", "iq2_xs")
    assert refused.code == 2
    assert "needs an importance matrix" in refused.err and "--imatrix" in refused.err

    made = hearth("quantize", "starter", "--to", "iq2_xs", "--imatrix", "calls.py", "--json")

    assert made.code == 0, made.err
    (one,) = made.document
    assert one["bits_per_weight"] < 3 and one["types"]["IQ2_XS"] > 10
    told = hearth("run", "starter:iq2_xs", "def add(", "--max-tokens", "4")
    assert told.code == 0, told.err


def test_what_was_calibrated_is_measured_as_it_is(hearth: Hearth, tmp_path: Path) -> None:
    """Measuring made it anew without its matrix, under the same name."""
    (hearth.home / "calls.py").write_text(TEXT.content)
    made = hearth("quantize", "starter", "--to", "q2_k", "--imatrix", "calls.py", "--json")
    (one,) = made.document
    said: list[str] = []
    store = Store(hearth.data, environment={"HOME": str(hearth.home), "HF_HUB_OFFLINE": "1"})

    _, found = candidates_of(
        store.find("starter"), ("q2_k",), Place(store.made, tmp_path, room), snapshot(),
        Listener(say=said.append, step=lambda *_: None),
    )[0]  # fmt: skip

    assert (found.sha256, found.precision) == (one["sha256"], "q2_k")
    assert "calibrated on calls.py" in said[0]


def test_a_text_too_short_is_told_before_anything_is_made(hearth: Hearth) -> None:
    (hearth.home / "short.py").write_text("print(1)\n")

    refused = hearth("quantize", "starter", "--to", "q2_k", "--imatrix", "short.py")

    assert refused.code == 2
    assert "at least 2048 are needed" in refused.err
    assert not list((hearth.data / "made").glob("*.gguf"))


# --- files ----------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path: Path) -> None:
    sums = {"blk.0.a.weight": np.array([[2.0, 4.0]]), "blk.0.e.weight": np.ones((3, 4))}
    counts = {"blk.0.a.weight": np.array([2.0]), "blk.0.e.weight": np.array([1.0, 0.0, 2.0])}
    path = tmp_path / "i.gguf"

    write_importance(path, sums, counts, title="a text", num_chunks=7, chunk_tokens=512)
    found = read_importance(path)

    assert (found.title, found.num_chunks) == ("a text", 7)
    assert found.values["blk.0.a.weight"].tolist() == [[1.0, 2.0]]
    assert found.values["blk.0.e.weight"][:, 0].tolist() == [1.0, 1.0, 0.5]  # the second saw none


def test_the_older_form_is_read(tmp_path: Path) -> None:
    name = b"blk.0.attn_q.weight"
    content = struct.pack("<ii", 1, len(name)) + name
    content += struct.pack("<ii3f", 4, 3, 4.0, 8.0, 2.0) + struct.pack("<ii", 10, 4) + b"text"
    path = tmp_path / "old.dat"
    path.write_bytes(content)

    found = read_importance(path)

    assert found.values["blk.0.attn_q.weight"].tolist() == [[1.0, 2.0, 0.5]]
    assert (found.title, found.num_chunks) == ("text", 10)


@pytest.mark.parametrize(
    "content",
    [b"", b"GGUF", struct.pack("<i", -1), struct.pack("<ii", 1, 1 << 30),
     struct.pack("<ii", 1, 1) + b"a" + struct.pack("<ii1f", 1, 1, float("nan"))],
)  # fmt: skip
def test_what_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.dat"
    path.write_bytes(content)

    with pytest.raises(BadWeights, match=r"some\.dat"):
        read_importance(path)


def test_a_model_is_no_importance_matrix() -> None:
    with pytest.raises(BadWeights, match="no importance matrix"):
        read_importance(STARTER)


def test_another_models_matrix_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "i.gguf"
    sums = {"blk.0.attn_q.weight": np.ones((1, 64))}
    counts = {"blk.0.attn_q.weight": np.ones(1)}
    write_importance(path, sums, counts, title="", num_chunks=1, chunk_tokens=512)

    with pytest.raises(InvalidRequest, match="another model's"):
        layout(gguf_source(STARTER), recipe_of("q4_k_m"), read_importance(path))


@pytest.mark.parametrize(
    ("size", "shape", "expected"),
    [(8, (8, 4), (1, 8)), (24, (8, 4, 3), (3, 8)), (8, (8, 4, 3), (1, 8)), (16, (8, 4, 3), None)],
)
def test_experts_have_their_own(size: int, shape: tuple[int, ...], expected: Any) -> None:
    found = matrix_of(np.ones(size, np.float32), shape)

    assert (found if found is None else found.shape) == expected


# --- which types ----------------------------------------------------------------------------------


def types_of(precision: str, *, has_importance: bool, num_kv_heads: int = 2) -> dict[str, str]:
    """Of 16 layers whose rows 256 divides."""
    names = ("attn_v", "attn_k", "attn_q", "attn_output", "ffn_down", "ffn_gate", "ffn_up")
    tensors = [Shape(f"blk.{n}.{name}.weight", (256, 256), "F16")
               for n in range(16) for name in names]  # fmt: skip
    tensors += [Shape("token_embd.weight", (256, 512), "F16"),
                Shape("output.weight", (256, 512), "F16")]  # fmt: skip
    model = Model("llama", 16, 8, num_kv_heads)
    found = tensor_types(tensors, recipe_of(precision), model, has_importance=has_importance)
    return {tensor.name: kind for tensor, kind in zip(tensors, found, strict=True)}


@pytest.mark.parametrize(
    ("precision", "tensor", "kind"),
    [
        ("iq2_xxs", "output", "Q5_K"), ("iq3_m", "output", "Q6_K"),
        ("iq2_xxs", "token_embd", "Q2_K"), ("iq2_s", "token_embd", "IQ3_S"),
        ("iq2_xs", "blk.0.attn_v", "Q4_K"), ("iq1_s", "blk.3.attn_output", "IQ2_XXS"),
        ("iq2_m", "blk.0.ffn_down", "IQ3_S"), ("iq2_m", "blk.2.ffn_down", "IQ2_S"),
        ("iq3_xxs", "blk.5.attn_k", "IQ2_S"), ("iq3_xxs", "blk.5.ffn_down", "IQ3_XXS"),
        ("iq3_xs", "blk.1.ffn_up", "IQ3_S"), ("iq3_xs", "blk.2.ffn_up", "IQ3_XXS"),
        ("iq3_m", "blk.9.attn_output", "Q4_K"), ("q2_k_s", "blk.0.ffn_down", "Q4_K"),
        ("iq4_xs", "blk.0.ffn_down", "IQ4_XS"), ("q4_0", "blk.0.ffn_down", "Q4_1"),
    ],
)  # fmt: skip
def test_a_matrix_of_importance_changes_the_types(precision: str, tensor: str, kind: str) -> None:
    assert types_of(precision, has_importance=True)[f"{tensor}.weight"] == kind


def test_without_one_the_types_are_the_old_ones() -> None:
    assert types_of("iq4_xs", has_importance=False)["blk.0.ffn_down.weight"] == "Q5_K"
    assert types_of("q4_0", has_importance=False)["blk.0.ffn_down.weight"] == "Q4_0"


# --- the native tools as judges -------------------------------------------------------------------

NATIVE = pytest.mark.skipif(
    not (shutil.which("llama-imatrix") and shutil.which("llama-quantize")),
    reason="llama-imatrix and llama-quantize are not on PATH",
)


@NATIVE
def test_the_sums_are_those_of_llama_imatrix(importance: Importance, tmp_path: Path) -> None:
    theirs, text = tmp_path / "theirs.gguf", tmp_path / "text.py"
    text.write_text(TEXT.content)
    subprocess.run(
        ["llama-imatrix", "-m", STARTER, "-f", text, "-o", theirs, "-c", "512", "-ngl", "0"],
        check=True,
        capture_output=True,
    )

    expected = read_importance(theirs)

    assert set(expected.values) == set(importance.values)
    for name, values in expected.values.items():
        assert np.allclose(importance.values[name], values, rtol=0.02), name


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Importance]:
    """Eight random layers, and their importance; the smallest types take minutes for more."""
    folder = tmp_path_factory.mktemp("deep")
    shape = ModelShape(
        num_layers=8,
        embedding_size=256,
        num_heads=8,
        num_kv_heads=2,
        feed_forward_size=256,
        tied=False,
    )
    source = make_gguf(folder / "source.gguf", shape, precision="F32")
    return source, calibrated(source, folder)


@NATIVE
@pytest.mark.parametrize("precision", sorted({*LOW_BIT_RECIPES, "q4_k_m", "iq4_xs", "q4_0"}))
def test_every_byte_is_that_of_llama_quantize(
    precision: str, deep: tuple[Path, Importance], tmp_path: Path
) -> None:
    source, found = deep
    theirs = tmp_path / "theirs.gguf"
    subprocess.run(
        ["llama-quantize", "--imatrix", found.path, source, theirs, precision.upper(), "1"],
        check=True,
        capture_output=True,
    )

    ours = quantised(source, precision, tmp_path / "made", found)

    expected = {tensor.name: tensor for tensor in gguf.GGUFReader(theirs).tensors}
    for tensor in gguf.GGUFReader(ours).tensors:
        other = expected[tensor.name]
        assert tensor.tensor_type == other.tensor_type, tensor.name
        assert tensor.data.tobytes() == other.data.tobytes(), tensor.name
