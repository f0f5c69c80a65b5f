"""A GGUF header is read exactly where it is good and refused within bounds where it is not."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import gguf
import gguf_bytes as g
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import Shape, make_gguf, tiny_qwen2

from codehearth.errors import BadWeights
from codehearth.models.gguf_cursor import WINDOW_BYTES
from codehearth.models.gguf_header import MAX_STRINGS, read_gguf_header
from codehearth.models.gguf_types import FILE_TYPES, TENSOR_TYPES
from codehearth.models.memory import predict
from codehearth.models.weights import read_weights

MICRO = Shape(num_layers=1, embedding_size=32, num_heads=2, num_kv_heads=1, head_size=16,
              feed_forward_size=64)  # fmt: skip


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_gguf(tmp_path_factory.mktemp("micro") / "micro.gguf", MICRO).read_bytes()


def read(folder: Path, content: bytes) -> None:
    path = folder / "some.gguf"
    path.write_bytes(content)
    read_gguf_header(path)


def test_tensor_types_agree_with_the_formats_own_library() -> None:
    known = {
        kind.value: (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGML_QUANT_SIZES
    }

    for number, ours in TENSOR_TYPES.items():
        assert known[number] == (ours.name, ours.block_size, ours.block_bytes)


def test_file_types_agree_with_the_formats_own_library() -> None:
    for kind in gguf.LlamaFileType:
        name = kind.name.removeprefix("MOSTLY_").removeprefix("ALL_").removesuffix("_MOE")
        if name != "GUESSED":
            assert FILE_TYPES[kind.value] == name


def test_a_header_says_what_the_formats_own_reader_says(tmp_path: Path) -> None:
    path = tiny_qwen2(tmp_path)

    header = read_gguf_header(path)

    theirs = gguf.GGUFReader(path)
    assert [(t.name, t.num_bytes, t.num_elements) for t in header.tensors] == [
        (t.name, int(t.n_bytes), int(t.n_elements)) for t in theirs.tensors
    ]
    for key, value in header.metadata.items():
        expected = theirs.get_field(key).contents()
        assert value == (tuple(expected) if isinstance(expected, list) else expected)
    passed_over = {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"}
    assert set(header.lengths) == passed_over
    for key in passed_over:
        assert header.lengths[key] == len(theirs.get_field(key).contents())


@pytest.mark.parametrize("position", range(-3, 4))
def test_strings_are_passed_over_wherever_the_window_ends(tmp_path: Path, position: int) -> None:
    filler = "x" * (WINDOW_BYTES // 2)
    tokens = [filler, filler[: WINDOW_BYTES // 2 - 100 + position], *["ab"] * 40, "<mark>", "end"]
    facts = [g.string_array("tokenizer.ggml.tokens", tokens), g.pair("after", "u32", 7)]
    path = tmp_path / "some.gguf"
    path.write_bytes(g.header(facts))

    header = read_gguf_header(path, marks=("<mark>", "<other>"))

    assert header.metadata["after"] == 7
    assert header.lengths["tokenizer.ggml.tokens"] == len(tokens)
    assert header.marks.keys() == {"<mark>"}


def test_long_strings_and_arrays_are_passed_over_and_counted(tmp_path: Path) -> None:
    facts = [
        g.pair("long", "str", "x" * (1 << 20) + "x"),
        g.number_array("scores", "f32", [0.0] * 5000),
        g.number_array("heads", "u32", [1, 2, 3]),
        g.pair("after", "bool", True),
    ]
    path = tmp_path / "some.gguf"
    path.write_bytes(g.header(facts))

    header = read_gguf_header(path)

    assert header.lengths == {"long": (1 << 20) + 1, "scores": 5000}
    assert header.metadata == {"heads": (1, 2, 3), "after": True}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cut off"),
        (b"<!DOCTYPE html><html>" + bytes(100), "a web page"),
        (b"<html>" + bytes(100), "a web page"),
        (b"version https://git-lfs.github.com/spec/v1" + bytes(50), "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(100), "archive"),
        (b"\x80\x02ctorch" + bytes(100), "pickle"),
        (b"\x7fELF" + bytes(100), "not a GGUF file"),
        (b"GGUF\x00\x00\x00\x03" + bytes(100), "big-endian"),
        (g.header(version=1), "version 1"),
        (g.header(version=4), "version 4"),
        (g.header(num_tensors=1 << 40), "claims 1099511627776 tensors"),
        (g.header(num_pairs=1 << 63), "facts"),
        (g.header(num_pairs=1), "cut off"),
        (g.header([g.pair("", "u32", 1)]), "twice or not at all"),
        (g.header([g.pair("a", "u32", 1)] * 2), "twice"),
        (g.header([g.pair(b"\xff", "u32", 1)]), "not UTF-8"),
        (g.header([g.text("k" * 5000)]), "5000 bytes for a key"),
        (g.header([g.text("k") + b"\x0d\x00\x00\x00" + bytes(8)]), "unknown kind 13"),
        (g.header([g.text("k") + b"\x09\0\0\0\x09\0\0\0" + bytes(8)]), "unknown kind 9"),
        (g.header([g.text("k") + b"\x08\0\0\0" + b"\xff" * 8]), "cut off"),
        (g.header([g.string_array("k", [], claimed=1 << 60)]), "claims 1152921504606846976"),
        (g.header([g.string_array("k", [], claimed=100_000)]), "cut off"),
        (g.header([g.number_array("k", "u64", [], claimed=1 << 61)]), "cut off"),
        (g.header([g.pair("general.alignment", "u32", 0)]), "alignment 0"),
        (g.header([g.pair("general.alignment", "u32", 24)]), "no power of two"),
        (g.header([g.pair("general.alignment", "u32", 1 << 30)]), "alignment"),
        (g.header([g.pair("general.alignment", "str", "x")]), "alignment"),
        (g.header([], [g.tensor("n" * 64, (1,), 0, 0)]), "64 bytes for a tensor's name"),
        (g.header([], [g.tensor("t", (1,) * 5, 0, 0)]), "5 dimensions"),
        (g.header([], [g.tensor("t", (0,), 0, 0)]), "shape"),
        (g.header([], [g.tensor("t", (1 << 32, 1 << 32), 0, 0)]), "shape"),
        (g.header([], [g.tensor("t", (31,), 8, 0)]), "a shape that Q8_0 cannot have"),
        (g.header([], [g.tensor("t", (32,), 4, 0)]), "unknown type 4"),
        (g.header([], [g.tensor("t", (32,), 0, 32)]), "wrong place"),
        (g.header([], [g.tensor("t", (8,), 0, 0), g.tensor("u", (8,), 0, 0)]), "wrong place"),
        (g.header([], [g.tensor("t", (8,), 0, 0), g.tensor("t", (8,), 0, 32)]), "twice"),
        (g.header([], [g.tensor("t", (2048,), 0, 0)]), "too early"),
    ],
)
def test_what_is_no_good_header_is_refused_with_its_reason(
    tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(BadWeights, match=r"some\.gguf") as caught:
        read(tmp_path, content)

    assert words in caught.value.message
    assert str(tmp_path) not in caught.value.message


def test_a_folder_a_missing_file_and_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")

    for name in (".", "missing.gguf", "pipe.gguf"):
        with pytest.raises(BadWeights):
            read_gguf_header(tmp_path / name)


def test_a_file_of_zeros_as_long_as_a_disk_is_refused_early(tmp_path: Path) -> None:
    """Arrays of empty strings in a sparse file once cost seconds each, for thousands of arrays."""
    path = tmp_path / "some.gguf"
    count = MAX_STRINGS // 2 + 1
    start = g.header(
        [g.pair("general.architecture", "str", "llama"), g.string_array("a", [], claimed=count)],
        num_pairs=60_000,
    )
    with path.open("wb") as file:
        file.write(start)
        file.seek(8 * count, os.SEEK_CUR)
        file.write(g.string_array("b", [], claimed=count))
        file.truncate(1 << 40)

    with pytest.raises(BadWeights, match="strings in 'b'"):
        read_gguf_header(path)


def test_claims_are_not_believed_with_memory(tmp_path: Path) -> None:
    path = tmp_path / "some.gguf"
    many = [g.pair(f"{number:05}" + "k" * 4000, "str", "v" * 60_000) for number in range(400)]
    path.write_bytes(g.header(many))
    tracemalloc.start()

    try:
        with pytest.raises(BadWeights, match="bytes of facts"):
            read_gguf_header(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 40 << 20


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=2000))
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadWeights):
        read(tmp_path, content)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=600), counts=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_garbage_after_a_good_beginning_is_read_or_refused(
    tmp_path: Path, content: bytes, counts: tuple[int, int]
) -> None:
    try:
        read(tmp_path, g.header(num_tensors=counts[0], num_pairs=counts[1]) + content)
    except BadWeights as error:
        assert error.message


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_every_truncation_is_refused(tmp_path: Path, micro: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(micro) - 1).filter(lambda n: n < len(micro) - 31))

    with pytest.raises(BadWeights):
        read(tmp_path, micro[:length])


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_flipped_bits_are_read_or_refused(
    tmp_path: Path, micro: bytes, data: st.DataObject
) -> None:
    content = bytearray(micro)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, 12_000))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "some.gguf"
    path.write_bytes(content)

    try:
        weights = read_weights(path)
    except BadWeights as error:
        assert error.message
    else:
        assert weights.num_bytes < len(micro)
        assert predict(weights, context_tokens=2048, num_slots=4).total_bytes > 0


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_huge_numbers_anywhere_are_read_or_refused(
    tmp_path: Path, micro: bytes, data: st.DataObject
) -> None:
    content = bytearray(micro)
    position = data.draw(st.integers(0, 12_000))
    value = data.draw(st.sampled_from([2**64 - 1, 2**63, 2**62, 2**40, 2**32, 2**31 - 1, 0]))
    content[position : position + 8] = value.to_bytes(8, "little")
    path = tmp_path / "some.gguf"
    path.write_bytes(content)

    try:
        read_weights(path)
    except BadWeights as error:
        assert error.message
