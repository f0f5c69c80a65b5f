"""Which files of a repository are a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codehearth.errors import BadWeights, HearthError, ModelNotFound
from codehearth.models.checkpoint import missing_shards, weight_files
from codehearth.models.gguf_files import group_parts
from codehearth.models.hubs import Listing, RemoteFile
from codehearth.models.names import is_safe_file_path
from codehearth.models.selection import Selection, Wanted, select


def choose(paths: list[str], **wanted: object) -> Selection:
    listing = Listing(
        "huggingface", "org/m", "main", "1" * 40, tuple(RemoteFile(path, 9) for path in paths)
    )
    return select(listing, Wanted("hf:org/m", **wanted), allows_code=False)  # type: ignore[arg-type]


def weights(selection: Selection) -> list[str]:
    return [file.path for file in selection.weights]


def test_one_file_is_taken_rather_than_the_same_in_parts() -> None:
    """Qwen's repositories hold q4_k_m both whole and split."""
    paths = [
        "coder-q4_k_m-00001-of-00002.gguf",
        "coder-q4_k_m-00002-of-00002.gguf",
        "coder-q4_k_m.gguf",
    ]

    assert weights(choose(paths)) == ["coder-q4_k_m.gguf"]


def test_a_plain_quantisation_is_taken_rather_than_a_variant_of_it() -> None:
    paths = ["m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf"]

    assert weights(choose(paths, selector="q4_k_m")) == ["m-Q4_K_M.gguf"]
    assert weights(choose(paths, selector="UD-Q4_K_M")) == ["m-UD-Q4_K_M.gguf"]


def test_projectors_and_importance_matrices_are_no_models() -> None:
    assert weights(choose(["mmproj-F16.gguf", "imatrix.gguf", "m-Q8_0.gguf"])) == ["m-Q8_0.gguf"]


def test_a_single_file_without_a_precision_is_taken() -> None:
    assert weights(choose(["codegemma-2b.gguf", "README.md"])) == ["codegemma-2b.gguf"]


def test_several_files_without_a_precision_ask_for_one() -> None:
    with pytest.raises(ModelNotFound) as caught:
        choose(["one.gguf", "two.gguf"])

    assert "one.gguf, two.gguf" in (caught.value.hint or "")


def test_a_split_model_that_lacks_a_part_is_refused() -> None:
    with pytest.raises(BadWeights, match="parts"):
        choose(["m-q8_0-00001-of-00002.gguf"])


def test_the_original_weights_beside_a_checkpoint_are_left() -> None:
    paths = [
        "config.json",
        "consolidated.safetensors",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]

    assert weights(choose(paths)) == paths[2:]
    assert weight_files(["model.fp16.safetensors", "model.safetensors"]) == ("model.safetensors",)
    assert weight_files(["gptq_model-4bit-64g.safetensors"]) == ("gptq_model-4bit-64g.safetensors",)


def test_a_checkpoint_that_lacks_a_shard_is_refused() -> None:
    with pytest.raises(BadWeights, match="lacks"):
        choose(["config.json", "model-00001-of-00002.safetensors"])

    assert missing_shards(["model-00002-of-00003.safetensors"]) == (
        "model-00001-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
    )


def test_a_checkpoint_without_a_configuration_is_refused() -> None:
    with pytest.raises(BadWeights, match=r"config\.json"):
        choose(["model.safetensors"])


def test_a_checkpoint_in_a_repository_that_has_only_gguf_tells_what_there_is() -> None:
    with pytest.raises(BadWeights) as caught:
        choose(["m-Q8_0.gguf"], format="safetensors")

    assert "q8_0" in (caught.value.hint or "")


def test_a_repository_without_weights_says_so() -> None:
    with pytest.raises(BadWeights, match="neither"):
        choose(["README.md"])


def test_a_number_of_parts_beyond_all_measure_is_bounded() -> None:
    assert len(missing_shards(["model-00001-of-99999.safetensors"])) < 10_001


@given(
    st.lists(
        st.text(alphabet="abq48_kKm-./\\:~ 01of", min_size=1, max_size=30).map(
            lambda text: text + ".gguf"
        )
        | st.sampled_from(["config.json", "model.safetensors", "x.py", "../x.safetensors"]),
        max_size=6,
        unique=True,
    ),
    st.none() | st.sampled_from(["q4_k", "q8_0", "a.gguf", "model.safetensors"]),
)
def test_whatever_is_listed_only_safe_files_are_chosen(
    paths: list[str], selector: str | None
) -> None:
    try:
        selection = choose(paths, selector=selector)
    except HearthError:
        return

    chosen = [file.path for file in selection.files]
    assert chosen
    assert all(is_safe_file_path(path) and path in paths for path in chosen)
    assert all(path.lower().endswith((".gguf", ".safetensors", ".json")) for path in chosen)


@given(st.lists(st.from_regex(r"[a-c]{1,2}(-0000[1-4]-of-0000[1-4])?\.gguf", fullmatch=True)))
def test_every_gguf_belongs_to_one_model(paths: list[str]) -> None:
    models = group_parts(set(paths))

    assert sorted(path for model in models for path in model.files) == sorted(set(paths))
    assert all(model.is_complete for model in models if not model.is_split)
