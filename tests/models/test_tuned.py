"""Tuned models: found by name, version by version, and never by halves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codehearth.errors import BadWeights, InvalidRequest, ModelNotFound, NotFound
from codehearth.models.store import Store
from codehearth.models.tuned import Tuned, TunedModel, require_name, split_form


def made(folder: Path, content: bytes = b"GGUF") -> Path:
    """What a job leaves: all forms of a model, as small as can be."""
    (folder / "merged").mkdir(parents=True)
    (folder / "merged" / "config.json").write_text("{}")
    (folder / "merged" / "model.safetensors").write_bytes(b"x")
    (folder / "adapter").mkdir()
    (folder / "model.gguf").write_bytes(content)
    (folder / "adapter.gguf").write_bytes(b"GGUF")
    return folder


def put(data: Path, name: str = "me", identity: str = "1") -> TunedModel:
    model = TunedModel(name, "starter:bf16", identity, row="starter")
    return Tuned(data / "tuned").put(model, made(data / "training" / identity))


def store(data: Path) -> Store:
    return Store(data, environment={"HOME": str(data), "HF_HUB_OFFLINE": "1"})


def test_a_name_means_its_gguf_its_checkpoint_or_its_adapter(tmp_path: Path) -> None:
    put(tmp_path)

    gguf, again = store(tmp_path).find("me"), store(tmp_path).find("Me")
    checkpoint = store(tmp_path).find("me:checkpoint")
    adapter = store(tmp_path).find("me:adapter")

    folder = tmp_path / "tuned" / "me" / "1"
    assert (gguf.path, gguf.source, gguf.format) == (folder / "model.gguf", "tuned", "gguf")
    assert gguf.row is not None and gguf.row.name == "starter"
    assert again.name == "me"
    assert (checkpoint.path, checkpoint.name) == (folder / "merged", "me:checkpoint")
    assert adapter.adapter == folder / "adapter.gguf"
    assert adapter.path == store(tmp_path).find("starter").path


def test_an_adapter_brings_the_template_of_its_training(tmp_path: Path) -> None:
    put(tmp_path)
    without = store(tmp_path).find("me:adapter")
    template = tmp_path / "tuned" / "me" / "1" / "chat_template.jinja"
    template.write_text("x")

    assert without.chat_template is None
    assert store(tmp_path).find("me:adapter").chat_template == template


def test_adapters_on_one_base_with_one_template_are_served_by_one_process(tmp_path: Path) -> None:
    for name in ("me", "you", "they"):
        put(tmp_path, name)
    (tmp_path / "tuned" / "they" / "1" / "chat_template.jinja").write_text("x")
    found = store(tmp_path)

    process, other = found.find("me:adapter").process, found.find("they:adapter").process

    assert process == "starter+adapters" == found.find("you:adapter").process != other
    assert [one.name for one in found.served_by(process)] == ["me:adapter", "you:adapter"]
    assert [one.name for one in found.served_by(other)] == ["they:adapter"]
    assert [one.name for one in found.served_by("starter")] == ["starter"]
    assert found.find("me").process == "me"


def test_a_damaged_adapter_is_told_and_takes_no_other_with_it(tmp_path: Path) -> None:
    put(tmp_path, "me")
    put(tmp_path, "you")
    (tmp_path / "tuned" / "me" / "1" / "adapter.gguf").write_bytes(b"")
    found = store(tmp_path)

    assert [one.name for one in found.served_by("starter+adapters")] == ["you:adapter"]
    with pytest.raises(BadWeights, match="its adapter is gone or damaged"):
        found.find("me:adapter")


def test_it_is_listed_once_and_deleted_with_all_its_versions(tmp_path: Path) -> None:
    put(tmp_path, identity="1")
    put(tmp_path, identity="2")
    names = [model.name for model in store(tmp_path).models()]

    freed = store(tmp_path).remove("me")

    assert names.count("me") == 1
    assert freed > 10
    assert not (tmp_path / "tuned" / "me").exists()
    with pytest.raises(ModelNotFound):
        store(tmp_path).find("me")


def test_the_version_before_comes_back_and_the_later_stays_on_disk(tmp_path: Path) -> None:
    put(tmp_path, identity="1")
    put(tmp_path, identity="2")
    tuned = Tuned(tmp_path / "tuned")

    back = tuned.roll_back("me")

    assert (back.version, back.identity) == (1, "1")
    assert store(tmp_path).find("me").path.parent.name == "1"
    assert [one.version for one in tuned.versions("me")] == [1, 2]
    with pytest.raises(NotFound, match="no version before 1"):
        tuned.roll_back("me")
    assert put(tmp_path, identity="3").version == 3


def test_a_version_that_was_not_named_yet_is_no_model(tmp_path: Path) -> None:
    """A kill between moving the folder and naming it must not show half a model."""
    put(tmp_path)
    (tmp_path / "tuned" / "me" / "current.json").unlink()

    assert Tuned(tmp_path / "tuned").get("me") is None
    assert [one.version for one in Tuned(tmp_path / "tuned").versions("me")] == [1]
    with pytest.raises(ModelNotFound):
        store(tmp_path).find("me")


@pytest.mark.parametrize("content", ["", "[]", "{", '{"version": "1"}', '{"version": 7}'])
def test_a_torn_record_is_no_model(content: str, tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "tuned" / "me" / "current.json").write_text(content)

    assert Tuned(tmp_path / "tuned").all() == ()


def test_a_record_that_names_another_model_is_not_believed(tmp_path: Path) -> None:
    put(tmp_path)
    record = tmp_path / "tuned" / "me" / "1" / "record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"name": "../other"}))

    assert Tuned(tmp_path / "tuned").all() == ()


def test_a_damaged_gguf_is_said(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "tuned" / "me" / "1" / "model.gguf").write_bytes(b"no")

    with pytest.raises(BadWeights):
        store(tmp_path).find("me")


@pytest.mark.parametrize("name", ["starter", "qwen2.5-coder-1.5b", "Starter"])
def test_the_names_of_other_models_are_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is the name of another model"):
        store(tmp_path).require_free_name(name)


def test_its_own_name_is_free_for_the_next_version(tmp_path: Path) -> None:
    put(tmp_path)

    store(tmp_path).require_free_name("me")
    store(tmp_path).require_free_name("somebody-new")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "../x", "-x", "x" * 65, "a:b", "名字"])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        require_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("me", ("me", None)),
        ("me:adapter", ("me", "adapter")),
        ("me:Checkpoint", ("me", "checkpoint")),
        ("me:q4_k_m", ("me:q4_k_m", None)),
    ],
)
def test_the_form_stands_behind_the_name(text: str, expected: tuple[str, str | None]) -> None:
    assert split_form(text) == expected
