"""Bundles: models go to another machine as they were, and nothing else gets in with them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_samples import MakeStore, gguf_bytes
from loopback_hub import LoopbackHub
from test_tuned import made as tuned_files

from codehearth.errors import BadWeights, DiskFull, InvalidRequest, ModelNotFound, NotFound
from codehearth.models.bundle import ROOT, LabModel
from codehearth.models.made import MadeModel
from codehearth.models.packing import pack
from codehearth.models.store import Store
from codehearth.models.tuned import TunedModel
from codehearth.models.unpacking import unpack, verify

REPO = "org/tiny-GGUF"
BODY = gguf_bytes(200_000)
CHECKPOINT = {
    "config.json": b'{"architectures": ["Qwen2ForCausalLM"], "torch_dtype": "bfloat16"}',
    "model.safetensors": bytes(1000),
    "tokenizer.json": b"{}",
}


@pytest.fixture
def packed(hub: LoopbackHub, make_store: MakeStore, tmp_path: Path) -> Path:
    """A bundle of a GGUF model from Hugging Face, a checkpoint from ModelScope and a made model."""
    hub.add(REPO, {"tiny-q8_0.gguf": BODY})
    hub.add("org/checkpoint", CHECKPOINT)
    store = make_store()
    names = [store.pull(f"hf:{REPO}:q8_0").name, store.pull("ms:org/checkpoint").name]
    digest = hashlib.sha256(b"GGUFmade").hexdigest()
    made = MadeModel("tiny", "q4_k_m", identity="x", sha256=digest, num_bytes=8)
    path = store.made.path_of(made)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUFmade")
    store.made.put(made, path)
    target = tmp_path / "models.tar"
    pack(store, [*names, made.name], None, target, say=print, free_bytes=lambda _: 10**15)
    return target


def other_machine(tmp_path: Path) -> Store:
    """A store of its own that may ask nobody."""
    home = tmp_path / "other"
    environment = {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "MODELSCOPE_CACHE": str(home / "ms"),
        "HF_HUB_OFFLINE": "1",
    }
    return Store(home / "data", environment=environment, free_bytes=lambda _: 10**15)


def rewritten(bundle: Path, change: Callable[[list[tuple[str, bytes]]], Any]) -> Path:
    """A copy whose entries went through `change`."""
    with tarfile.open(bundle) as archive:
        entries = []
        for entry in archive:
            stream = archive.extractfile(entry)
            assert stream is not None
            entries.append((entry.name, stream.read()))
    change(entries)
    target = bundle.with_name("changed.tar")
    with tarfile.open(target, "w") as archive:
        for name, body in entries:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return target


def with_manifest(bundle: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    def edit(entries: list[tuple[str, bytes]]) -> None:
        table = json.loads(entries[0][1])
        change(table)
        entries[0] = (entries[0][0], json.dumps(table).encode())

    return rewritten(bundle, edit)


def test_models_arrive_as_they_were(packed: Path, tmp_path: Path) -> None:
    there = other_machine(tmp_path)

    names = unpack(packed, there, say=print)

    assert names == (f"hf:{REPO}:q8_0", "ms:org/checkpoint", "tiny:q4_k_m")
    assert there.find(f"hf:{REPO}:q8_0").path.read_bytes() == BODY
    assert there.find("ms:org/checkpoint").format == "safetensors"
    assert there.find("tiny:q4_k_m").path.read_bytes() == b"GGUFmade"
    for name in names:
        assert {file.state for file in there.verify(name)} == {"ok"}
    assert not list((tmp_path / "other").rglob(".unbundle*"))


def test_what_came_in_a_bundle_is_listed_and_removed_like_any_other(
    packed: Path, tmp_path: Path
) -> None:
    there = other_machine(tmp_path)
    names = unpack(packed, there, say=print)

    freed = [there.remove(name) for name in names]

    assert all(num_bytes > 0 for num_bytes in freed)
    assert [model.name for model in there.models()] == ["starter"]


def test_unpacking_twice_changes_nothing(packed: Path, tmp_path: Path) -> None:
    there = other_machine(tmp_path)
    unpack(packed, there, say=print)
    before = {model.name for model in there.models()}

    unpack(packed, there, say=print)

    assert {model.name for model in there.models()} == before
    assert there.find(f"hf:{REPO}:q8_0").path.read_bytes() == BODY


def test_an_unpacked_folder_serves_as_well(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")

    assert len(unpack(tmp_path / "unpacked", other_machine(tmp_path), say=print)) == 3
    assert len(verify(tmp_path / "unpacked" / ROOT).models) == 3


def test_the_same_models_make_the_same_bundle(
    packed: Path, make_store: MakeStore, tmp_path: Path
) -> None:
    again = tmp_path / "again.tar"
    names = [model.name for model in verify(packed).models]

    pack(make_store(), names, None, again, say=print, free_bytes=lambda _: 10**15)

    assert again.read_bytes() == packed.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.9])
def test_a_bundle_that_was_cut_is_refused(packed: Path, tmp_path: Path, share: float) -> None:
    whole = packed.read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[: int(len(whole) * share)])
    there = other_machine(tmp_path)

    with pytest.raises(BadWeights, match="not used"):
        unpack(cut, there, say=print)
    with pytest.raises(BadWeights, match="not used"):
        verify(cut)

    for model in there.models():  # those before the cut are whole
        assert model.source == "package" or there.verify(model.name)[0].state == "ok"


def test_one_flipped_bit_is_found(packed: Path, tmp_path: Path) -> None:
    body = bytearray(packed.read_bytes())
    at = body.index(BODY[1000:1020])
    body[at] ^= 1
    packed.write_bytes(bytes(body))
    there = other_machine(tmp_path)

    with pytest.raises(BadWeights, match=r"hash of 'models/0/tiny-q8_0\.gguf'"):
        unpack(packed, there, say=print)

    assert [model.name for model in there.models()] == ["starter"]
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file()]


def _escape(table: dict[str, Any]) -> None:
    table["files"][0]["path"] = "models/0/../../../evil.gguf"
    table["models"][0]["files"] = ["../../../evil.gguf"]


def _absolute(table: dict[str, Any]) -> None:
    table["files"][0]["path"] = "/etc/cron.d/evil"


def _repository(table: dict[str, Any]) -> None:
    table["models"][0]["repo"] = "../evil"


def _commit(table: dict[str, Any]) -> None:
    table["models"][0]["commit"] = "../../evil"


def _pickle(table: dict[str, Any]) -> None:
    for file in table["files"]:
        file["path"] = file["path"].replace("model.safetensors", "pytorch_model.bin")
    table["models"][1]["files"] = ["config.json", "pytorch_model.bin", "tokenizer.json"]


def _code(table: dict[str, Any]) -> None:
    for file in table["files"]:
        file["path"] = file["path"].replace("tokenizer.json", "tokenizer.py")
    table["models"][1]["files"] = ["config.json", "model.safetensors", "tokenizer.py"]


def _precision(table: dict[str, Any]) -> None:
    table["models"][2]["record"]["precision"] = "../../evil"
    table["models"][2]["name"] = "tiny:../../evil"


def _name(table: dict[str, Any]) -> None:
    table["models"][0]["name"] = "qwen2.5-coder-7b:q8_0"


def _size(table: dict[str, Any]) -> None:
    table["files"][0]["num_bytes"] += 1


def _hash(table: dict[str, Any]) -> None:
    table["files"][0]["sha256"] = "0" * 64


def _twice(table: dict[str, Any]) -> None:
    table["files"].append(dict(table["files"][0]))


def _half(table: dict[str, Any]) -> None:
    table["models"][1]["files"].pop()


def _format(table: dict[str, Any]) -> None:
    table["format"] = 2


def _package(table: dict[str, Any]) -> None:
    table["files"].insert(0, {"path": "wheels/evil.sh", "num_bytes": 0, "sha256": "0" * 64})


@pytest.mark.parametrize(
    "change",
    [_escape, _absolute, _repository, _commit, _pickle, _code, _precision, _name, _size, _hash,
     _twice, _half, _format, _package],
)  # fmt: skip
def test_a_hostile_manifest_is_refused_and_leaves_nothing(
    packed: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    there = other_machine(tmp_path)

    with pytest.raises(BadWeights, match="This bundle is not used"):
        unpack(with_manifest(packed, change), there, say=print)

    assert [model.name for model in there.models()] == ["starter"]
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"nonsense", b'{"format": 1}'])
def test_a_manifest_that_is_none_is_refused(packed: Path, text: bytes) -> None:
    def edit(entries: list[tuple[str, bytes]]) -> None:
        entries[0] = (entries[0][0], text)

    with pytest.raises(BadWeights, match="not used"):
        verify(rewritten(packed, edit))


def test_entries_that_are_not_listed_are_refused(packed: Path) -> None:
    more = rewritten(packed, lambda entries: entries.append((f"{ROOT}/more", b"x")))
    with pytest.raises(BadWeights, match="more than it lists"):
        verify(more)

    other = rewritten(packed, lambda entries: entries.insert(1, ("../evil", b"x")))
    with pytest.raises(BadWeights, match=r"it holds '\.\./evil'"):
        verify(other)


def test_links_are_refused(packed: Path, tmp_path: Path) -> None:
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    file = tmp_path / "unpacked" / ROOT / "models" / "0" / "tiny-q8_0.gguf"
    outside = tmp_path / "outside"
    file.rename(outside)
    file.symlink_to(outside)
    linked = tmp_path / "linked.tar"
    with tarfile.open(linked, "w") as archive:
        archive.add(tmp_path / "unpacked" / ROOT / "manifest.json", f"{ROOT}/manifest.json")
        archive.add(file, f"{ROOT}/models/0/tiny-q8_0.gguf")

    for bundle in (linked, tmp_path / "unpacked"):
        with pytest.raises(BadWeights, match="not used"):
            unpack(bundle, other_machine(tmp_path), say=print)


def test_a_full_disk_is_told_before_anything_is_written(packed: Path, tmp_path: Path) -> None:
    there = other_machine(tmp_path)

    with pytest.raises(DiskFull, match=r"has 1\.00 kB free"):
        unpack(packed, there, say=print, free_bytes=lambda _: 1000)

    assert not (tmp_path / "other").exists()


def test_a_bundle_is_not_begun_on_a_full_disk(
    packed: Path, make_store: MakeStore, tmp_path: Path
) -> None:
    names = [model.name for model in verify(packed).models]

    with pytest.raises(DiskFull):
        pack(make_store(), names, None, tmp_path / "b", say=print, free_bytes=lambda _: 1000)

    assert not list(tmp_path.glob("b*"))


def test_a_damaged_model_is_not_packed(packed: Path, make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    (store.find(f"hf:{REPO}:q8_0").path.resolve()).write_bytes(BODY[:-1] + b"x")

    with pytest.raises(BadWeights, match="its hash differs"):
        pack(store, [f"hf:{REPO}:q8_0"], None, tmp_path / "b", say=print)

    assert not list(tmp_path.glob("b*"))


def test_what_cannot_be_named_elsewhere_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(BODY)
    store = Store(tmp_path / "d", named_paths={"mine": tmp_path / "mine.gguf"}, environment={})

    with pytest.raises(InvalidRequest, match="neither fetched nor made"):
        pack(store, ["mine"], None, tmp_path / "b", say=print)
    with pytest.raises(ModelNotFound):
        pack(store, ["startr"], None, tmp_path / "b", say=print)
    with pytest.raises(NotFound):
        verify(tmp_path / "none.tar")


def test_a_checkpoint_that_was_made_arrives_whole(make_store: MakeStore, tmp_path: Path) -> None:
    here, there = make_store(), other_machine(tmp_path)
    folder, files = here.made.folder / "whole", {"config.json": b"{}", "model.safetensors": b"1234"}
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    here.made.put(MadeModel("tiny", "int8", num_bytes=6, files=hashes), folder)
    bundle = tmp_path / "made.tar"
    pack(here, ["tiny:int8"], None, bundle, say=print, free_bytes=lambda _: 10**15)

    assert unpack(bundle, there, say=print) == ("tiny:int8",)
    assert unpack(bundle, there, say=print) == ("tiny:int8",)  # again, over the first

    model = there.find("tiny:int8")
    assert (model.format, model.num_bytes, model.path.is_dir()) == ("safetensors", 6, True)
    assert {file.state for file in there.verify("tiny:int8")} == {"ok"}
    assert there.remove("tiny:int8") == 6
    hostile = with_manifest(
        bundle, lambda table: table["models"][0]["record"].update(precision="int8/../../x")
    )
    with pytest.raises(BadWeights):
        unpack(hostile, there, say=print)


def test_a_made_model_keeps_its_record(packed: Path) -> None:
    made = verify(packed).models[2]

    assert isinstance(made, LabModel)
    assert (made.record.base, made.record.precision) == ("tiny", "q4_k_m")


@pytest.fixture
def own(make_store: MakeStore, tmp_path: Path) -> Path:
    """A bundle of a tuned model, all its forms."""
    store = make_store()
    record = TunedModel("me", "starter:bf16", "1", row="starter")
    record = replace(record, sha256=hashlib.sha256(b"GGUF").hexdigest())
    store.tuned.put(record, tuned_files(tmp_path / "data" / "training"))
    target = tmp_path / "own.tar"
    pack(store, ["me:adapter"], None, target, say=print, free_bytes=lambda _: 10**15)
    return target


def test_a_tuned_model_arrives_in_all_its_forms(own: Path, tmp_path: Path) -> None:
    there = other_machine(tmp_path)

    names = unpack(own, there, say=print)

    assert names == ("me",)
    assert there.find("me").path.read_bytes() == b"GGUF"
    assert there.find("me:checkpoint").format == "safetensors"
    assert there.find("me:adapter").adapter is not None
    assert {file.state for file in there.verify("me")} == {"ok"}


def test_a_second_bundle_of_a_tuned_model_is_its_next_version(own: Path, tmp_path: Path) -> None:
    there = other_machine(tmp_path)
    unpack(own, there, say=print)

    unpack(own, there, say=print)

    assert [model.version for model in there.tuned.versions("me")] == [1, 2]


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "../evil"), ("name", "starter"), ("base", "/etc/evil"), ("base", "../evil"),
     ("sha256", 7), ("surprise", 1)],
)  # fmt: skip
def test_a_hostile_record_of_a_tuned_model_is_refused(
    own: Path, tmp_path: Path, field: str, value: Any
) -> None:
    there = other_machine(tmp_path)

    def change(table: dict[str, Any]) -> None:
        table["models"][0]["record"][field] = value
        table["models"][0]["name"] = table["models"][0]["record"]["name"]

    with pytest.raises((BadWeights, InvalidRequest)):
        unpack(with_manifest(own, change), there, say=print)

    assert [model.name for model in there.models()] == ["starter"]
    assert not list((tmp_path / "other").rglob("*evil*"))


@pytest.mark.parametrize("path", ["evil.py", "merged/evil.py", "adapter/evil.bin", "x/evil.json"])
def test_a_tuned_model_brings_no_code_and_no_pickles(own: Path, tmp_path: Path, path: str) -> None:
    def change(table: dict[str, Any]) -> None:
        table["models"][0]["files"][0] = path
        table["files"][0]["path"] = f"models/0/{path}"

    with pytest.raises(BadWeights, match="not used"):
        unpack(with_manifest(own, change), other_machine(tmp_path), say=print)
