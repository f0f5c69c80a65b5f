"""Quantising, through the command line and with real children; `gguf` is the judge."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from codehearth.errors import BadWeights, DiskFull
from codehearth.lab.layout import layout
from codehearth.lab.mixture import RECIPES, Model, recipe_of
from codehearth.lab.quantize import Progress, run
from codehearth.lab.source import SourceModel, SourceTensor, gguf_source
from codehearth.models.made import Made, MadeModel
from tests.cli.command_line import STARTER, Hearth, served
from tests.lab.checkpoints import Sizes, make_checkpoint
from tests.tiny_models import Shape, make_gguf, tiny_qwen2

Array = np.ndarray[Any, np.dtype[Any]]

MIB = 1 << 20
# Bytes of a fixed tensor in each type, made by xllamacpp 2026.10.11549. Another hash means that
# llama.cpp quantises otherwise than it did: then look whether it got better, and renew them.
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


def values(path: Path) -> dict[str, Array]:
    """Every tensor as numbers, by `gguf`'s own code."""
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(path).tensors
    }


def made_path(hearth: Hearth, file: str) -> Path:
    return hearth.data / "made" / file


def room(_: Path) -> int:
    return 1 << 40


def quantised(source: SourceModel, precision: str, folder: Path, **options: Any) -> Path:
    """`source` in a precision, without the command line."""
    model = MadeModel("model", precision)
    options = {"num_threads": 2, "free_bytes": room, "progress": lambda _: None, **options}
    return run(layout(source, recipe_of(precision)), Made(folder), model, **options).path


# --- what is made ---------------------------------------------------------------------------------


def test_made_precisions_are_listed_served_and_removed(hearth: Hearth) -> None:
    made = hearth("quantize", "starter", "--to", "q4_k_m,q2_k", "--json")

    assert made.code == 0, made.err
    assert [entry["name"] for entry in made.document] == ["starter:q4_k_m", "starter:q2_k"]
    listed = {entry["name"]: entry for entry in hearth("ls", "--json").document}
    assert listed["starter:q4_k_m"]["source"] == "made"
    assert listed["starter:q4_k_m"]["num_bytes"] == made.document[0]["num_bytes"]
    with served(hearth, "-m", "starter"):
        answer = hearth("complete", "-m", "starter:Q4_K_M", "--max-tokens", "8", stdin="def add(")
    assert answer.code == 0, answer.err
    assert answer.out.strip()
    assert hearth("rm", "starter:q4_k_m", "--yes").code == 0
    assert not made_path(hearth, "starter-q4_k_m.gguf").exists()
    assert hearth("show", "starter:q2_k").code == 0


def test_the_bits_per_weight_are_those_of_the_file(hearth: Hearth) -> None:
    made = hearth("quantize", "starter", "--to", "q4_k_m", "--json").document[0]

    tensors = gguf.GGUFReader(made["path"]).tensors
    bits = 8 * sum(t.n_bytes for t in tensors) / sum(t.n_elements for t in tensors)
    assert made["bits_per_weight"] == pytest.approx(bits)
    assert made["num_bytes"] == Path(made["path"]).stat().st_size
    assert made["sha256"] == hashlib.sha256(Path(made["path"]).read_bytes()).hexdigest()


def test_a_dry_run_predicts_the_size_exactly(hearth: Hearth) -> None:
    predicted = hearth("quantize", "starter", "--to", "q5_k_m", "--dry-run", "--json").document

    assert not (hearth.data / "made").exists()
    made = hearth("quantize", "starter", "--to", "q5_k_m", "--json").document
    assert predicted[0]["num_bytes"] == made[0]["num_bytes"]


def test_facts_and_tensors_of_a_gguf_are_taken_over(tmp_path: Path) -> None:
    path = quantised(gguf_source(STARTER), "q8_0", tmp_path)

    old, new = gguf.GGUFReader(STARTER), gguf.GGUFReader(path)
    own = {"general.file_type", "general.quantization_version"}
    for key, fact in old.fields.items():
        if key not in own and not key.startswith("GGUF."):
            assert new.fields[key].contents() == fact.contents(), key
    for before, after in zip(old.tensors, new.tensors, strict=True):
        assert before.name == after.name
        assert np.array_equal(before.data, after.data), before.name


@pytest.mark.parametrize(
    ("precision", "error"),
    [("f32", 0), ("f16", 3e-4), ("bf16", 3e-3), ("q8_0", 0.01), ("q6_k", 0.03), ("q5_k_m", 0.06),
     ("q4_k_m", 0.12), ("q4_0", 0.12), ("iq4_nl", 0.12), ("q3_k_m", 0.24), ("q2_k", 0.45)],
)  # fmt: skip
def test_what_is_lost_is_what_the_bits_allow(precision: str, error: float, tmp_path: Path) -> None:
    """Relative to the numbers' own size, on random numbers, the worst of all tensors."""
    source = make_gguf(
        tmp_path / "a.gguf", Shape(embedding_size=256, head_size=32, num_heads=8), precision="F32"
    )

    made = values(quantised(gguf_source(source), precision, tmp_path))

    for name, exact in values(source).items():
        lost = np.sqrt(np.mean((made[name] - exact) ** 2) / np.mean(exact**2))
        assert lost <= error, name


@pytest.mark.parametrize("type_name", sorted(GOLDEN))
def test_llama_cpp_quantises_as_it_always_did(type_name: str, tmp_path: Path) -> None:
    recipe = next(
        name for name in ("q4_k_s", "q5_k_s", "q3_k_s", *RECIPES)
        if RECIPES[name].tensor_type == type_name
    )  # fmt: skip
    numbers = random.Random(0)
    raw = struct.pack("<16384f", *(numbers.gauss(0, 0.05) for _ in range(16384)))
    (tmp_path / "raw").write_bytes(raw)
    tensor = SourceTensor("blk.0.ffn_up.weight", (256, 64), "F32", tmp_path / "raw", 0, len(raw))
    source = SourceModel((), (tensor,), Model("qwen2", 1, 1, 1), (tmp_path / "raw",))

    path = quantised(source, recipe, tmp_path / "made")

    made = gguf.GGUFReader(path).tensors[0]
    assert made.tensor_type.name == type_name
    assert hashlib.sha256(made.data.tobytes()).hexdigest() == GOLDEN[type_name]


def test_eight_bits_are_those_of_the_gguf_package(tmp_path: Path) -> None:
    """llama.cpp's own converter takes them from there."""
    source = make_gguf(tmp_path / "a.gguf", precision="F32")

    path = quantised(gguf_source(source), "q8_0", tmp_path)

    exact = values(source)
    for tensor in gguf.GGUFReader(path).tensors:
        if tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0:
            expected = gguf.quants.quantize(exact[tensor.name], tensor.tensor_type)
            assert np.array_equal(tensor.data, expected), tensor.name


@pytest.mark.skipif(not shutil.which("llama-quantize"), reason="llama-quantize is not on PATH")
@pytest.mark.parametrize("precision", ["q8_0", "q5_k_m", "q4_k_m", "iq4_xs", "q3_k_m", "q2_k"])
@pytest.mark.parametrize("embedding_size", [256, 224])
def test_every_byte_is_that_of_llama_quantize(
    precision: str, embedding_size: int, tmp_path: Path
) -> None:
    """Rows of 224 are not divided by 256, so the fallbacks are held against it too."""
    shape = Shape(
        num_layers=24,
        embedding_size=embedding_size,
        num_heads=embedding_size // 32,
        num_kv_heads=1,
        head_size=32,
    )
    source = make_gguf(tmp_path / "source.gguf", shape, precision="F32")
    theirs = tmp_path / "theirs.gguf"
    subprocess.run(["llama-quantize", source, theirs, precision.upper(), "1"], check=True)

    ours = quantised(gguf_source(source), precision, tmp_path / "made")

    expected = {tensor.name: tensor for tensor in gguf.GGUFReader(theirs).tensors}
    made = gguf.GGUFReader(ours).tensors
    assert len(made) == len(expected)
    for tensor in made:
        assert tensor.tensor_type == expected[tensor.name].tensor_type, tensor.name
        assert tensor.data.tobytes() == expected[tensor.name].data.tobytes(), tensor.name


# --- checkpoints ----------------------------------------------------------------------------------

ARCHITECTURES = {
    "Qwen2ForCausalLM": gguf.MODEL_ARCH.QWEN2,
    "Qwen3ForCausalLM": gguf.MODEL_ARCH.QWEN3,
    "LlamaForCausalLM": gguf.MODEL_ARCH.LLAMA,
    "Starcoder2ForCausalLM": gguf.MODEL_ARCH.STARCODER2,
}


def interleaved(weights: Array, heads: int) -> Array:
    """How llama.cpp's converter prepares Llama's queries and keys."""
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_a_checkpoints_tensors_are_converted_exactly(
    architecture: str, dtype: str, hearth: Hearth
) -> None:
    """Their names are those of `gguf`'s own table."""
    checkpoint = make_checkpoint(hearth.home / "tiny", architecture, dtype=dtype)

    made = hearth("quantize", "./tiny", "--to", "f32")

    assert made.code == 0, made.err
    found = values(made_path(hearth, "tiny-f32.gguf"))
    names = gguf.get_tensor_name_map(ARCHITECTURES[architecture], 2)
    assert len(found) == len(checkpoint.tensors)
    for name, exact in checkpoint.tensors.items():
        ours = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if architecture == "LlamaForCausalLM" and ("q_proj" in name or "k_proj" in name):
            exact = interleaved(exact, 4 if "q_proj" in name else 2)
        assert ours is not None
        assert np.array_equal(found[ours], exact), name


def test_a_checkpoints_tokenizer_template_and_licence_are_kept(hearth: Hearth) -> None:
    checkpoint = make_checkpoint(hearth.home / "tiny")

    hearth("quantize", "./tiny", "--to", "q8_0")

    fields = gguf.GGUFReader(made_path(hearth, "tiny-q8_0.gguf")).fields

    def fact(key: str) -> Any:
        return fields[key].contents()

    tokens = fact("tokenizer.ggml.tokens")
    assert tuple(tokens[: len(checkpoint.tokens)]) == checkpoint.tokens
    assert tokens[-1] == f"[PAD{len(tokens) - 1}]"  # the embedding has six more rows
    assert tuple(fact("tokenizer.ggml.merges")) == checkpoint.merges
    assert fact("tokenizer.ggml.pre") == "qwen2"
    assert fact("tokenizer.ggml.eos_token_id") == checkpoint.tokens.index("<|im_end|>")
    assert fact("tokenizer.ggml.eot_token_id") == checkpoint.tokens.index("<|endoftext|>")
    assert fact("tokenizer.ggml.fim_pre_token_id") == checkpoint.tokens.index("<|fim_prefix|>")
    assert "im_start" in fact("tokenizer.chat_template")
    assert fact("general.license") == "apache-2.0"
    # Not said to be special, but it looks so: it must never be cut into letters.
    types = fact("tokenizer.ggml.token_type")
    assert types[checkpoint.tokens.index("<|fim_prefix|>")] == gguf.TokenType.CONTROL


def test_a_converted_checkpoint_serves(hearth: Hearth) -> None:
    make_checkpoint(hearth.home / "tiny", sizes=Sizes(config={"tie_word_embeddings": True}))

    made = hearth("quantize", "./tiny", "--to", "q4_k_m")
    answer = hearth("complete", "-m", "tiny:q4_k_m", "--max-tokens", "4", stdin="def")

    assert made.code == answer.code == 0, made.err + answer.err


def test_llama_3_1_gets_its_frequencies(hearth: Hearth) -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = {"rope_scaling": scaling, "rope_theta": 500000.0}
    make_checkpoint(hearth.home / "tiny", "LlamaForCausalLM", Sizes(config=config))

    hearth("quantize", "./tiny", "--to", "q8_0")

    factors = values(made_path(hearth, "tiny-q8_0.gguf"))["rope_freqs.weight"]
    assert factors[0] == 1.0
    assert factors[-1] == 8.0
    assert np.all(np.diff(factors) >= 0)


# --- what goes wrong ------------------------------------------------------------------------------


def test_nan_in_a_tensor_is_named(tmp_path: Path) -> None:
    raw = np.zeros((4, 256), np.float32)
    raw[2, 7] = np.nan
    (tmp_path / "raw").write_bytes(raw.tobytes())
    tensor = SourceTensor("blk.3.ffn_up.weight", (256, 4), "F32", tmp_path / "raw", 0, raw.nbytes)
    source = SourceModel((), (tensor,), Model("qwen2", 4, 1, 1), (tmp_path / "raw",))

    with pytest.raises(BadWeights, match=r"blk\.3\.ffn_up\.weight.*NaN \(1 number"):
        quantised(source, "q4_k_s", tmp_path / "made")


def test_numbers_too_large_for_halves_are_named(tmp_path: Path) -> None:
    raw = np.full((1, 256), 1e6, np.float32)
    (tmp_path / "raw").write_bytes(raw.tobytes())
    tensor = SourceTensor("blk.0.ffn_up.weight", (256, 1), "F32", tmp_path / "raw", 0, raw.nbytes)
    source = SourceModel((), (tensor,), Model("qwen2", 1, 1, 1), (tmp_path / "raw",))

    with pytest.raises(BadWeights, match="bf16"):
        quantised(
            replace(source, tensors=(replace(tensor, shape=(128, 2)),)), "f16", tmp_path / "m"
        )


def test_a_damaged_file_is_refused_before_any_work(hearth: Hearth) -> None:
    whole = tiny_qwen2(hearth.home)
    (hearth.home / "cut.gguf").write_bytes(whole.read_bytes()[:-1000])

    refused = hearth("quantize", "./cut.gguf", "--to", "q8_0")

    assert refused.code == 1
    assert "ends" in refused.err
    assert not (hearth.data / "made").exists()


def test_a_file_whose_hash_has_changed_is_refused(hearth: Hearth) -> None:
    """One bit of a weight: no header tells, and everything made of it would have it."""
    hearth("quantize", "starter", "--to", "q4_k_m")
    path = made_path(hearth, "starter-q4_k_m.gguf")
    raw = bytearray(path.read_bytes())
    raw[-1000] ^= 1
    path.write_bytes(raw)

    made = hearth("quantize", "starter:q4_k_m", "--to", "q2_k")
    measured = hearth("measure", "starter:q4_k_m")

    for refused in (made, measured):
        assert refused.code == 1
        assert "'starter:q4_k_m' is damaged" in refused.err and "hearth rm" in refused.err
    assert not made_path(hearth, "starter-q4_k_m-q2_k.gguf").exists()


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("CodeGenForCausalLM", "llama.cpp has no CodeGen"),
        ("Mamba9ForCausalLM", "Mamba9ForCausalLM"),
    ],
)
def test_an_architecture_that_cannot_be_converted_is_named_with_those_that_can(
    architecture: str, said: str, hearth: Hearth
) -> None:
    checkpoint = make_checkpoint(hearth.home / "tiny")
    config = json.loads((checkpoint.folder / "config.json").read_text())
    (checkpoint.folder / "config.json").write_text(
        json.dumps({**config, "architectures": [architecture]})
    )

    refused = hearth("quantize", "./tiny", "--to", "q8_0")

    assert refused.code == 2
    assert said in refused.err
    assert "Qwen2, Qwen3, Llama" in refused.err


def test_an_unknown_tokenizer_is_refused(hearth: Hearth) -> None:
    checkpoint = make_checkpoint(hearth.home / "tiny")
    file = checkpoint.folder / "tokenizer.json"
    table = json.loads(file.read_text())
    table["pre_tokenizer"] = {"type": "Whitespace"}
    file.write_text(json.dumps(table))

    refused = hearth("quantize", "./tiny", "--to", "q8_0")

    assert refused.code == 2
    assert "Whitespace" in refused.err


def test_a_precision_of_another_engine_is_named(hearth: Hearth) -> None:
    refused = hearth("quantize", "starter", "--to", "gptq8")

    assert refused.code == 2
    assert "GPTQModel" in refused.err


def test_a_full_disk_is_seen_before_any_work(tmp_path: Path) -> None:
    about = round(STARTER.stat().st_size / (1 << 20))  # as many as the source has

    with pytest.raises(DiskFull, match=rf"{about} MiB are to be written, 1 MiB are free"):
        quantised(gguf_source(STARTER), "q8_0", tmp_path, free_bytes=lambda _: MIB)

    assert not list(tmp_path.glob("*.gguf*.unfinished"))


def test_a_run_that_was_killed_goes_on_where_it_was(hearth: Hearth, tmp_path: Path) -> None:
    shape = Shape(
        num_layers=24, embedding_size=1024, num_heads=8, head_size=128, feed_forward_size=2816
    )
    source = make_gguf(hearth.home / "big.gguf", shape)
    unfinished = made_path(hearth, "big-q4_k_m.gguf.unfinished")
    journal = made_path(hearth, "big-q4_k_m.gguf.journal")

    with hearth.started("quantize", "./big.gguf", "--to", "q4_k_m", "--threads", "1") as process:
        deadline = time.monotonic() + 60
        while not journal.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    assert not made_path(hearth, "big-q4_k_m.gguf").exists()
    assert hearth("show", "big:q4_k_m").code == 4
    done = json.loads(journal.read_text())["num_done"]
    assert 0 < done < len(gguf.GGUFReader(source).tensors)
    wait_until_untouched(unfinished)

    again = hearth("quantize", "./big.gguf", "--to", "q4_k_m")

    assert again.code == 0, again.err
    assert "goes on behind" in again.err
    at_once = quantised(gguf_source(source), "q4_k_m", tmp_path)
    assert made_path(hearth, "big-q4_k_m.gguf").read_bytes() == at_once.read_bytes()
    assert not list((hearth.data / "made").glob("*.journal"))


def wait_until_untouched(path: Path) -> None:
    """Until the child of a killed command has died too: its lock on life is a pipe."""
    size = -1
    while size != path.stat().st_size:
        size = path.stat().st_size
        time.sleep(0.2)


def test_a_changed_source_is_not_resumed(tmp_path: Path) -> None:
    source = tiny_qwen2(tmp_path, seed=1)
    first = quantised(gguf_source(source), "q8_0", tmp_path / "made").read_bytes()
    tiny_qwen2(tmp_path, seed=2)

    second = quantised(gguf_source(source), "q8_0", tmp_path / "made").read_bytes()

    assert first != second


def test_what_is_there_is_not_made_again(hearth: Hearth) -> None:
    hearth("quantize", "starter", "--to", "q4_k_m")

    again = hearth("quantize", "starter", "--to", "q4_k_m")

    assert again.code == 0
    assert "is there already" in again.err


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    seen: list[Progress] = []

    path = quantised(gguf_source(STARTER), "q8_0", tmp_path, progress=seen.append)

    assert seen[-1].done_bytes == seen[-1].total_bytes == path.stat().st_size
