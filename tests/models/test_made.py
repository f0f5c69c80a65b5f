"""Models that were made here: found by name, and only when they are whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from codehearth.errors import ModelNotFound, Overloaded
from codehearth.models.made import Made, MadeModel, made_alone
from codehearth.models.records import Recorded, RecordedFile, Records
from codehearth.models.store import Store


def put(folder: Path, base: str, precision: str = "q4_k_m") -> Path:
    """A made model of four bytes."""
    made, model = Made(folder / "made"), MadeModel(base, precision)
    made.folder.mkdir(parents=True, exist_ok=True)
    whole = made.folder / "whole"
    whole.write_bytes(b"GGUF")
    made.put(replace(model, identity="x", sha256="0" * 64, num_bytes=4), whole)
    return made.path_of(model)


def store(folder: Path) -> Store:
    return Store(folder, environment={"HOME": str(folder), "HF_HUB_OFFLINE": "1"})


def downloaded(folder: Path) -> Path:
    """A model of four bytes in the hub's cache, recorded as `hf:org/repo:q4_k_m`; its file."""
    cache = store(folder).places.huggingface_cache / "models--org--repo" / "snapshots" / ("0" * 40)
    cache.mkdir(parents=True)
    file = cache / "model-q4_k_m.gguf"
    file.write_bytes(b"GGUF")
    Records(folder / "models.json").put(
        Recorded(
            name="hf:org/repo:q4_k_m",
            hub="huggingface",
            repo="org/repo",
            revision="main",
            commit="0" * 40,
            format="gguf",
            precision="q4_k_m",
            folder=str(cache),
            main=file.name,
            files=(RecordedFile(file.name, 4, "0" * 64),),
            created_at=0,
        )
    )
    return file


@pytest.mark.parametrize(
    ("base", "asked"),
    [("tiny", "tiny:q4_k_m"), ("tiny", "Tiny:Q4-K-M"), ("hf:org/repo", "hf:org/repo:q4_k_m"),
     ("starter", "starter:q4_k_m"), ("qwen2.5-coder-7b", "qwen2.5-coder-7b:Q4_K_M")],
)  # fmt: skip
def test_a_made_model_is_found_by_its_name(base: str, asked: str, tmp_path: Path) -> None:
    path = put(tmp_path, base)

    found = store(tmp_path).find(asked)

    assert (found.path, found.source, found.precision) == (path, "made", "q4_k_m")
    assert found.name == f"{base}:q4_k_m"


def test_made_models_of_near_names_do_not_share_a_file(tmp_path: Path) -> None:
    assert put(tmp_path, "hf:a/b") != put(tmp_path, "hf-a-b")
    assert len(store(tmp_path).models()) == 3  # with the starter


def test_a_file_without_its_record_is_not_found(tmp_path: Path) -> None:
    path = put(tmp_path, "tiny")
    path.with_name(f"{path.name}.json").unlink()

    with pytest.raises(ModelNotFound):
        store(tmp_path).find("tiny:q4_k_m")


def test_what_a_stopped_quantisation_left_is_deleted(tmp_path: Path) -> None:
    """Neither `hearth rm` nor the page could delete an unfinished file."""
    made = Made(tmp_path / "made")
    path = made.path_of(MadeModel("hf:org/repo", "q4_k_m"))
    path.parent.mkdir(parents=True)
    left = [path.with_name(path.name + ending) for ending in (".unfinished", ".journal", ".lock")]
    for one in left:
        one.write_bytes(b"12345")

    assert store(tmp_path).discard("hf:org/repo:Q4_K_M") == 15
    assert not [one for one in left if one.exists()]
    assert made.discard("hf:org/repo:q4_k_m") == 0
    assert made.discard("tiny") == 0


def test_what_is_being_made_is_not_discarded(tmp_path: Path) -> None:
    made = Made(tmp_path / "made")
    path = made.path_of(MadeModel("tiny", "q8_0"))

    with made_alone(path), pytest.raises(Overloaded):
        made.discard("tiny:q8_0")

    assert path.with_name(path.name + ".lock").exists()


def test_a_downloaded_model_is_deleted_before_a_made_one_of_its_name(tmp_path: Path) -> None:
    """`hearth rm` showed the downloaded files and deleted the made one."""
    path = put(tmp_path, "hf:org/repo")
    cached = downloaded(tmp_path)
    shelf = store(tmp_path)
    assert shelf.locate("hf:org/repo:q4_k_m").path == cached

    shelf.remove("hf:org/repo:q4_k_m")

    assert path.exists() and not cached.exists()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"base": "../../x", "precision": "q4_k_m"}', '{"base": 3, "precision": 4}'],
)
def test_a_record_that_is_not_sound_is_passed_over(content: str, tmp_path: Path) -> None:
    path = put(tmp_path, "tiny")
    path.with_name(f"{path.name}.json").write_text(content)

    assert [model.name for model in store(tmp_path).models()] == ["starter"]


def test_a_record_does_not_reach_other_files(tmp_path: Path) -> None:
    """The file's place follows from the name, so a record cannot name another one."""
    path = put(tmp_path, "tiny")
    record = path.with_name(f"{path.name}.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "base": "other"}))

    assert [model.name for model in store(tmp_path).models()] == ["starter"]


def test_a_made_model_that_was_cut_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "tiny").write_bytes(b"GG")

    with pytest.raises(Exception, match="has 2 bytes instead of 4"):
        store(tmp_path).find("tiny:q4_k_m")


def test_removing_frees_its_bytes_and_leaves_the_others(tmp_path: Path) -> None:
    put(tmp_path, "tiny", "q8_0")
    path = put(tmp_path, "tiny")

    assert store(tmp_path).remove("tiny:q4_k_m") == 4
    assert not path.exists()
    assert store(tmp_path).find("tiny:q8_0").name == "tiny:q8_0"


def test_making_a_precision_does_not_change_what_its_name_meant(tmp_path: Path) -> None:
    """One that was fetched under the same name stays the one that is served."""
    downloaded(tmp_path)
    put(tmp_path, "hf:org/repo")

    assert store(tmp_path).find("hf:org/repo:q4_k_m").source == "hf:org/repo"
