"""The store: what is on disk is found without a network, checked, listed and removed, and nothing
else is ever touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_samples import MakeStore, gguf_bytes
from hypothesis import given
from hypothesis import strategies as st
from loopback_hub import LoopbackHub

from codehearth.errors import BadSetting, BadWeights, InvalidRequest, ModelNotFound
from codehearth.models.hubs import hub_places
from codehearth.models.progress import Meter, Progress
from codehearth.models.records import Recorded, RecordedFile, Records
from codehearth.models.starter import starter

CONFIG = json.dumps({"architectures": ["Qwen2ForCausalLM"], "torch_dtype": "float16"}).encode()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


class TestStarter:
    def test_it_is_found_and_comes_first(self, make_store: MakeStore) -> None:
        store = make_store()

        assert store.find("starter").source == "package"
        assert store.models()[0].name == "starter"
        assert store.find("Starter").path == store.find("starter").path

    def test_pulling_it_is_done_at_once(self, make_store: MakeStore) -> None:
        for name in ("starter", "STARTER"):
            assert make_store({"HF_HUB_OFFLINE": "1"}).pull(name).name == "starter"

    def test_its_hash_is_known_and_right(self, make_store: MakeStore) -> None:
        assert [file.state for file in make_store().verify("starter")] == ["ok"]

    def test_a_missing_one_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BadWeights, match="'starter' is missing"):
            starter(tmp_path)

    def test_a_damaged_one_is_named(self, tmp_path: Path) -> None:
        digest = "0" * 64
        write(
            tmp_path,
            {
                "starter.gguf": gguf_bytes(100),
                "starter.md": f"SHA-256 of `starter.gguf`: `{digest}`".encode(),
            },
        )

        with pytest.raises(BadWeights, match="'starter' is damaged"):
            starter(tmp_path)

    def test_it_is_never_deleted(self, make_store: MakeStore) -> None:
        with pytest.raises(InvalidRequest):
            make_store().remove("starter")

        assert make_store().find("starter").path.exists()


class TestNames:
    def test_a_known_model_that_is_not_here_names_the_command_that_fetches_it(
        self, make_store: MakeStore
    ) -> None:
        with pytest.raises(ModelNotFound) as caught:
            make_store().find("Qwen2.5-Coder:7b")

        assert "`hearth pull qwen2.5-coder-7b`" in (caught.value.hint or "")

    def test_an_unknown_model_is_told_what_is_near_here_too(
        self, make_store: MakeStore, tmp_path: Path
    ) -> None:
        path = write(tmp_path / "own", {"m.gguf": gguf_bytes(50)}) / "m.gguf"

        with pytest.raises(ModelNotFound) as caught:
            make_store(named_paths={"my-assistant": path}).find("my-asistant")

        assert caught.value.nearest == ("my-assistant",)

    def test_a_precision_that_does_not_exist_tells_those_that_do(
        self, make_store: MakeStore
    ) -> None:
        with pytest.raises(ModelNotFound) as caught:
            make_store().find("qwen2-7b:q3_x")

        assert "q5_k_m" in (caught.value.hint or "")

    @pytest.mark.parametrize("text", ["/etc/passwd", "../x.gguf", "~/x", "file:/etc/passwd"])
    def test_a_path_is_no_name_unless_the_caller_allows_it(
        self, make_store: MakeStore, text: str
    ) -> None:
        for call in (make_store().find, make_store().pull, make_store().verify):
            with pytest.raises(InvalidRequest):
                call(text)

    def test_a_path_is_found_where_it_is_allowed(
        self, make_store: MakeStore, tmp_path: Path
    ) -> None:
        path = write(tmp_path, {"my-q8_0.gguf": gguf_bytes(50)}) / "my-q8_0.gguf"

        model = make_store().find(str(path), allow_path=True)

        assert (model.path, model.format, model.precision) == (path, "gguf", "q8_0")
        assert (model.name, model.source) == ("my-q8_0", "path")


class TestNamedPaths:
    def test_a_file_a_folder_and_a_checkpoint_are_served_under_their_names(
        self, make_store: MakeStore, tmp_path: Path
    ) -> None:
        file = write(tmp_path / "a", {"one-q4_0.gguf": gguf_bytes(50)}) / "one-q4_0.gguf"
        folder = write(tmp_path / "b", {"two.gguf": gguf_bytes(50)})
        checkpoint = write(
            tmp_path / "c", {"config.json": CONFIG, "model.safetensors": gguf_bytes(50)}
        )
        store = make_store(named_paths={"one": file, "two": folder, "three": checkpoint})

        assert [model.name for model in store.models()] == ["starter", "one", "two", "three"]
        assert store.find("two").path == folder / "two.gguf"
        assert store.find("three").path == checkpoint
        assert store.find("three").precision == "fp16"

    def test_a_lost_file_is_told_without_its_path_and_not_listed(
        self, make_store: MakeStore, tmp_path: Path
    ) -> None:
        store = make_store(named_paths={"mine": tmp_path / "gone" / "x.gguf"})

        with pytest.raises(BadWeights) as caught:
            store.find("mine")

        assert str(tmp_path) not in caught.value.message
        assert [model.name for model in store.models()] == ["starter"]

    def test_a_file_that_is_no_gguf_is_refused(self, make_store: MakeStore, tmp_path: Path) -> None:
        path = write(tmp_path, {"x.gguf": b"<html>not found</html>"}) / "x.gguf"

        with pytest.raises(BadWeights, match="no GGUF"):
            make_store(named_paths={"mine": path}).find("mine")

    def test_a_folder_of_several_models_asks_for_one(
        self, make_store: MakeStore, tmp_path: Path
    ) -> None:
        folder = write(tmp_path / "d", {"a.gguf": gguf_bytes(9), "b.gguf": gguf_bytes(9)})

        with pytest.raises(BadWeights) as caught:
            make_store(named_paths={"mine": folder}).find("mine")

        assert "a.gguf, b.gguf" in (caught.value.hint or "")

    def test_a_part_of_a_split_model_leads_to_the_first_part(
        self, make_store: MakeStore, tmp_path: Path
    ) -> None:
        names = [f"m-0000{n}-of-00002.gguf" for n in (1, 2)]
        write(tmp_path, {name: gguf_bytes(50) for name in names})

        model = make_store(named_paths={"mine": tmp_path / names[1]}).find("mine")

        assert model.path.name == names[0]
        assert model.num_bytes == 100

    def test_a_checkpoint_with_code_is_refused_until_its_name_is_allowed(
        self, make_store: MakeStore, tmp_path: Path
    ) -> None:
        folder = write(
            tmp_path / "c",
            {"config.json": CONFIG, "model.safetensors": b"x", "modeling.py": b"import os"},
        )
        named = {"mine": folder}

        with pytest.raises(BadWeights, match="Python code") as caught:
            make_store(named_paths=named).find("mine")

        assert "mine@path" in (caught.value.hint or "")
        allowed = make_store(named_paths=named, allow_code={"mine": "path"})
        assert allowed.find("mine").path == folder

    def test_its_files_are_not_ours_to_delete(self, make_store: MakeStore, tmp_path: Path) -> None:
        path = write(tmp_path, {"x.gguf": gguf_bytes(50)}) / "x.gguf"

        with pytest.raises(InvalidRequest):
            make_store(named_paths={"mine": path}).remove("mine")

        assert path.exists()


class TestSharedCaches:
    def test_what_huggingface_hub_downloaded_is_found(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        from huggingface_hub import snapshot_download

        commit = hub.add(
            "org/coder",
            {"config.json": CONFIG, "model.safetensors": gguf_bytes(90), "README.md": b"#"},
        )
        snapshot_download(
            "org/coder", cache_dir=Path(environment["HF_HOME"]) / "hub", endpoint=hub.endpoint
        )
        hub.faults.is_down = True

        model = make_store().find("hf:org/coder")

        assert (model.name, model.format, model.precision) == (
            "hf:org/coder",
            "safetensors",
            "fp16",
        )
        assert model.revision == commit.id
        assert model.sha256.keys() == {"model.safetensors"}
        assert {file.file: file.state for file in make_store().verify("hf:org/coder")} == {
            "config.json": "unknown",
            "model.safetensors": "ok",
        }

    def test_what_modelscope_hub_downloaded_is_found(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        from modelscope_hub import HubApi, HubConfig

        repo = "Qwen/Qwen2-0.5B-Instruct-GGUF"
        hub.add(repo, {"qwen2-0_5b-instruct-q8_0.gguf": gguf_bytes(90)})
        cache = Path(environment["MODELSCOPE_CACHE"])
        config = HubConfig(endpoint=hub.endpoint, cache_dir=cache, config_dir=cache / "home")
        HubApi(config).download_repo(repo, "model", cache_dir=cache)

        model = make_store().find("qwen2-0.5b:q8_0")

        assert (model.name, model.source) == ("qwen2-0.5b:q8_0", f"ms:{repo}")

    @pytest.mark.parametrize("base", ["models", "hub/models"])
    def test_the_older_layout_of_modelscope_is_found(
        self, make_store: MakeStore, environment: dict[str, str], base: str
    ) -> None:
        folder = Path(environment["MODELSCOPE_CACHE"], base, "Qwen", "Qwen2___5-Coder-7B-Instruct")
        write(folder, {"config.json": CONFIG, "model.safetensors": b"x"})

        assert make_store().find("ms:Qwen/Qwen2.5-Coder-7B-Instruct").path == folder

    def test_models_that_are_not_whole_are_passed_over(
        self, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        snapshots = Path(environment["HF_HOME"], "hub", "models--org--a", "snapshots")
        write(snapshots / "1", {"config.json": CONFIG, "model-00001-of-00002.safetensors": b"x"})
        write(snapshots / "2", {"big-00002-of-00002.gguf": gguf_bytes(9)})
        write(snapshots / "3", {"model.safetensors": b"x"})
        write(snapshots / "4", {"mmproj-F16.gguf": gguf_bytes(9)})
        (snapshots / "5").mkdir()
        (snapshots / "5" / "lost-q8_0.gguf").symlink_to("../../blobs/gone")

        assert [model.name for model in make_store().models()] == ["starter"]

    def test_folders_with_strange_names_do_no_harm(
        self, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        cache = Path(environment["HF_HOME"], "hub")
        for name in (
            "models--..--etc",
            "models--",
            "models--a",
            "datasets--org--x",
            "models--a--b--c",
        ):
            write(cache / name / "snapshots" / "1", {"m-q8_0.gguf": gguf_bytes(9)})
        (cache / "models--org--loop" / "snapshots").mkdir(parents=True)
        (cache / "models--org--loop" / "snapshots" / "1").symlink_to(cache)

        assert [model.name for model in make_store().models()] == ["starter"]

    def test_a_cache_with_two_paths_holds_each_model_once(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str], tmp_path: Path
    ) -> None:
        hub.add("org/m", {"m-q8_0.gguf": gguf_bytes(50), "sub/m-q8_0.gguf": gguf_bytes(60)})
        make_store().pull("hf:org/m:m-q8_0.gguf")
        (tmp_path / "link").symlink_to(environment["HF_HOME"])

        names = [model.name for model in make_store({"HF_HOME": f"{tmp_path}/link"}).models()]

        assert names == ["starter", "hf:org/m:q8_0"]

    def test_a_cache_that_cannot_be_read_holds_nothing(
        self, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        Path(environment["HF_HOME"]).mkdir()
        Path(environment["HF_HOME"], "hub").write_bytes(b"a file")

        assert [model.name for model in make_store().models()] == ["starter"]

    def test_two_commits_of_a_model_both_have_a_name(
        self, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        snapshots = Path(environment["HF_HOME"], "hub", "models--org--m", "snapshots")
        for number, commit in enumerate(("a" * 40, "b" * 40)):
            write(snapshots / commit, {"m-q8_0.gguf": gguf_bytes(50, seed=number)})
            os.utime(snapshots / commit, (number, number))
        store = make_store()

        names = [model.name for model in store.models()[1:]]

        assert names == ["hf:org/m:q8_0", f"hf:org/m:q8_0@{'a' * 12}"]
        for name in names:
            assert store.find(name).name == name

    def test_of_several_precisions_the_usual_one_is_meant(
        self, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        snapshot = Path(environment["HF_HOME"], "hub", "models--org--m", "snapshots", "1")
        write(snapshot, {f"m-{q}.gguf": gguf_bytes(50) for q in ("Q2_K", "Q4_K_M", "Q8_0")})
        store = make_store()

        assert store.find("hf:org/m").precision == "q4_k_m"
        assert store.find("hf:org/m:Q8_0").precision == "q8_0"
        assert store.find("hf:org/m:m-Q2_K.gguf").precision == "q2_k"
        with pytest.raises(ModelNotFound):
            store.find("hf:org/m:q6_k")

    def test_listing_imports_no_client_library(self, environment: dict[str, str]) -> None:
        code = (
            "import os, sys; from pathlib import Path; from codehearth.models.store import Store;"
            "store = Store(Path('data'), environment=os.environ); store.models();"
            "store.find('starter');"
            "print([name for name in ('huggingface_hub', 'modelscope_hub', 'httpx2', 'requests')"
            " if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout.strip() == "[]"


class TestDamage:
    def pulled(self, hub: LoopbackHub, make_store: MakeStore, prefix: str = "hf") -> Path:
        hub.add("org/m", {"m-q8_0.gguf": gguf_bytes(5000)})
        path = make_store().pull(f"{prefix}:org/m").path
        hub.faults.is_down = True
        return path.resolve()

    def test_a_cut_file_does_not_start(self, hub: LoopbackHub, make_store: MakeStore) -> None:
        path = self.pulled(hub, make_store)
        path.write_bytes(path.read_bytes()[:4000])

        with pytest.raises(BadWeights, match="4000 bytes instead of 5000") as caught:
            make_store().find("hf:org/m")

        assert "hearth pull hf:org/m:q8_0" in (caught.value.hint or "")
        assert str(path) not in caught.value.message

    def test_a_lost_file_is_not_here(self, hub: LoopbackHub, make_store: MakeStore) -> None:
        self.pulled(hub, make_store).unlink()

        with pytest.raises(ModelNotFound):
            make_store().find("hf:org/m")

    @pytest.mark.parametrize("prefix", ["hf", "ms"])
    def test_every_flipped_bit_is_found(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        path = self.pulled(hub, make_store, prefix)
        whole = path.read_bytes()
        store = make_store()

        for bit in range(7, 8 * len(whole), 401):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            assert [file.state for file in store.verify(f"{prefix}:org/m")] == ["damaged"]
        path.write_bytes(whole)

        assert [file.state for file in store.verify(f"{prefix}:org/m")] == ["ok"]

    @pytest.mark.parametrize("prefix", ["hf", "ms"])
    def test_a_damaged_model_is_made_whole_by_pulling_it_again(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        path = self.pulled(hub, make_store, prefix)
        whole = path.read_bytes()
        path.write_bytes(whole[:100])
        hub.faults.is_down = False

        make_store().pull(f"{prefix}:org/m")

        assert make_store().find(f"{prefix}:org/m").path.read_bytes() == whole


class TestRemove:
    @pytest.mark.parametrize("prefix", ["hf", "ms"])
    def test_the_files_are_gone_and_their_bytes_are_told(
        self,
        hub: LoopbackHub,
        make_store: MakeStore,
        environment: dict[str, str],
        prefix: str,
    ) -> None:
        hub.add("org/m", {"m-q8_0.gguf": gguf_bytes(5000), "m-q4_k_m.gguf": gguf_bytes(4000)})
        make_store().pull(f"{prefix}:org/m:q8_0")
        make_store().pull(f"{prefix}:org/m:q4_k_m")

        freed = make_store().remove(f"{prefix}:org/m:q8_0")

        assert freed == 5000
        assert [model.name for model in make_store().models()][1:] == [f"{prefix}:org/m:q4_k_m"]
        assert make_store().find(f"{prefix}:org/m").path.exists()
        assert make_store().remove(f"{prefix}:org/m") == 4000
        assert not [path for path in _all_files(environment) if "org--m" in str(path)]

    def test_a_damaged_model_can_be_removed(self, hub: LoopbackHub, make_store: MakeStore) -> None:
        hub.add("org/m", {"m-q8_0.gguf": gguf_bytes(5000)})
        make_store().pull("hf:org/m").path.resolve().write_bytes(b"cut")

        assert make_store().locate("hf:org/m").name == "hf:org/m:q8_0"
        assert make_store().remove("hf:org/m") == 3

    def test_a_blob_that_another_commit_uses_stays(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        body = gguf_bytes(5000)
        first = hub.add("org/m", {"m-q8_0.gguf": body})
        hub.add("org/m", {"m-q8_0.gguf": body, "config.json": b"{}"})
        make_store().pull(f"hf:org/m:q8_0@{first.id}")
        make_store().pull("hf:org/m:q8_0@main")

        make_store().remove("hf:org/m:q8_0")

        assert make_store().find("hf:org/m").path.read_bytes() == body

    def test_what_another_program_brought_can_be_removed(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        from huggingface_hub import hf_hub_download

        hub.add("org/m", {"m-q8_0.gguf": gguf_bytes(5000)})
        cache = Path(environment["HF_HOME"]) / "hub"
        hf_hub_download("org/m", "m-q8_0.gguf", cache_dir=cache, endpoint=hub.endpoint)

        assert make_store().remove("hf:org/m:q8_0") == 5000
        with pytest.raises(ModelNotFound):
            make_store().find("hf:org/m")

    def test_a_link_out_of_the_cache_is_unlinked_and_not_followed(
        self, make_store: MakeStore, environment: dict[str, str], tmp_path: Path
    ) -> None:
        outside = write(tmp_path / "outside", {"precious-q8_0.gguf": gguf_bytes(50)})
        snapshot = Path(environment["HF_HOME"], "hub", "models--org--m", "snapshots", "1")
        snapshot.mkdir(parents=True)
        (snapshot / "m-q8_0.gguf").symlink_to(outside / "precious-q8_0.gguf")

        make_store().remove("hf:org/m:q8_0")

        assert (outside / "precious-q8_0.gguf").exists()
        assert not (snapshot / "m-q8_0.gguf").is_symlink()

    @pytest.mark.parametrize("variable", ["HF_HOME", "MODELSCOPE_CACHE"])
    def test_a_repository_that_is_a_link_to_elsewhere_is_left_alone(
        self,
        make_store: MakeStore,
        environment: dict[str, str],
        tmp_path: Path,
        variable: str,
    ) -> None:
        """A record may name such a folder: the cache's scan passes links over."""
        outside = write(tmp_path / "outside" / "snapshots" / "1", {"m-q8_0.gguf": gguf_bytes(50)})
        hub_name = "huggingface" if variable == "HF_HOME" else "modelscope"
        below = "hub" if variable == "HF_HOME" else "models"
        link = Path(environment[variable], below, "models--org--m")
        link.parent.mkdir(parents=True)
        link.symlink_to(tmp_path / "outside")
        _record(tmp_path, hub_name, str(link / "snapshots" / "1"))

        with pytest.raises(BadWeights, match="outside"):
            make_store().remove("hf:org/m" if hub_name == "huggingface" else "ms:org/m")

        assert (outside / "m-q8_0.gguf").exists()

    @pytest.mark.parametrize("hub_name", ["huggingface", "modelscope"])
    def test_a_record_that_names_a_folder_elsewhere_deletes_nothing_there(
        self, make_store: MakeStore, tmp_path: Path, hub_name: str
    ) -> None:
        outside = write(tmp_path / "outside", {"m-q8_0.gguf": gguf_bytes(50)})
        _record(tmp_path, hub_name, str(outside))

        with pytest.raises(BadWeights, match="outside"):
            make_store().remove("hf:org/m" if hub_name == "huggingface" else "ms:org/m")

        assert (outside / "m-q8_0.gguf").exists()

    def test_a_model_that_is_not_here_cannot_be_removed(self, make_store: MakeStore) -> None:
        with pytest.raises(ModelNotFound):
            make_store().remove("hf:org/m")


class TestRecords:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\0" * 100,
            b"not json",
            b"[]",
            b"{}",
            b'{"models": 5}',
            b'{"models": [1, null, {}, {"name": "x"}]}',
            b'{"models": [{"name": "\\ud800"}]}',
            b"[" * 100_000,
        ],
    )
    def test_garbage_in_the_record_stops_nothing(
        self, hub: LoopbackHub, make_store: MakeStore, tmp_path: Path, body: bytes
    ) -> None:
        hub.add("org/m", {"m-q8_0.gguf": gguf_bytes(5000)})
        make_store().pull("hf:org/m")
        (tmp_path / "data" / "models.json").write_bytes(body)

        assert make_store().find("hf:org/m").name == "hf:org/m:q8_0"
        make_store().pull("hf:org/m")
        assert make_store().find("hf:org/m").sizes == {"m-q8_0.gguf": 5000}

    def test_a_record_that_is_a_folder_stops_nothing(
        self, make_store: MakeStore, tmp_path: Path
    ) -> None:
        (tmp_path / "data" / "models.json").mkdir(parents=True)

        assert make_store().models()[0].name == "starter"

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "hub", "repo", "files", "folder", "path", "models"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_no_json_at_all_stops_it(
        self, tmp_path_factory: pytest.TempPathFactory, table: object
    ) -> None:
        path = tmp_path_factory.mktemp("records") / "models.json"
        path.write_text(json.dumps({"version": 1, "models": [table]}))

        assert Records(path).all() == ()

    def test_an_entry_that_leads_out_of_its_folder_is_left_out(self, tmp_path: Path) -> None:
        records = Records(tmp_path / "models.json")
        good = _recorded("/cache/models--org--m", "m-q8_0.gguf")
        records.put(good)
        table = json.loads(records.path.read_bytes())
        table["models"].append({**table["models"][0], "name": "evil", "main": "../../x.gguf"})
        records.path.write_text(json.dumps(table))

        assert records.all() == (good,)

    def test_an_entry_comes_back_as_it_was_written(self, tmp_path: Path) -> None:
        records = Records(tmp_path / "deep" / "models.json")
        entry = _recorded("/cache/models--org--m", "m-q8_0.gguf")

        records.put(entry)

        assert Records(records.path).get(entry.name) == entry
        records.drop(entry.name)
        assert Records(records.path).all() == ()


class TestPlaces:
    def test_the_caches_are_where_the_libraries_have_them(self) -> None:
        home = {"HOME": "/home/u"}

        assert hub_places(home).huggingface_cache == Path("/home/u/.cache/huggingface/hub")
        assert hub_places(home).modelscope_cache == Path("/home/u/.cache/modelscope")
        places = hub_places({**home, "XDG_CACHE_HOME": "/c", "MODELSCOPE_CACHE": "~/ms"})
        assert places.huggingface_cache == Path("/c/huggingface/hub")
        assert places.modelscope_cache == Path("/home/u/ms")
        both = {**home, "HF_HOME": "/h", "HF_HUB_CACHE": "/x"}
        assert hub_places(both).huggingface_cache == Path("/x")

    def test_they_are_the_same_as_in_the_libraries_themselves(self, tmp_path: Path) -> None:
        """Asked of the real libraries, in a process of their own, with the same variables."""
        code = (
            "from huggingface_hub import constants; from modelscope_hub import HubConfig;"
            "print(constants.HF_HUB_CACHE); print(constants.ENDPOINT); c = HubConfig();"
            "print(c.cache_dir); print(c.endpoint); print(constants.HF_HUB_OFFLINE)"
        )
        for variables in (
            {},
            {"HF_HOME": "/a/hf", "MODELSCOPE_CACHE": "/a/ms", "HF_ENDPOINT": "https://m.example/"},
            {
                "HF_HUB_CACHE": "~/hub",
                "MODELSCOPE_ENDPOINT": "https://ms.example",
                "HF_HUB_OFFLINE": "1",
            },
            {"XDG_CACHE_HOME": "/b", "MODELSCOPE_DOMAIN": "www.modelscope.ai"},
        ):
            environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], **variables}
            done = subprocess.run(
                [sys.executable, "-c", code],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            places = hub_places(environment)

            assert done.stdout.split() == [
                str(places.huggingface_cache),
                places.huggingface_endpoint,
                str(places.modelscope_cache),
                places.modelscope_endpoint,
                str(places.is_offline),
            ]

    @pytest.mark.parametrize(
        "address", ["ftp://host", "nonsense", "https://user:word@host", "http://"]
    )
    def test_an_address_that_is_none_stops_the_start(self, address: str) -> None:
        with pytest.raises(BadSetting, match="HF_ENDPOINT"):
            hub_places({"HF_ENDPOINT": address})


class TestMeter:
    def test_speed_and_time_left_follow_the_last_seconds(self) -> None:
        now = [0.0]
        seen: list[Progress] = []
        meter = Meter(seen.append, 1000, clock=lambda: now[0])

        meter.begin("a")
        for second in range(11):
            now[0] = float(second)
            meter.at("download", 50 * second)

        assert seen[-1].done_bytes == 500
        assert seen[-1].bytes_per_s == pytest.approx(50)
        assert seen[-1].left_s == pytest.approx(10)

    def test_bytes_that_were_here_before_are_no_speed(self) -> None:
        now = [0.0]
        seen: list[Progress] = []
        meter = Meter(seen.append, 1000, clock=lambda: now[0])

        meter.begin("a")
        meter.at("download", 900)
        now[0] = 1.0
        meter.at("download", 910)

        assert seen[-1].bytes_per_s == pytest.approx(10)

    def test_a_download_that_begins_again_shows_no_negative_speed(self) -> None:
        now = [0.0]
        seen: list[Progress] = []
        meter = Meter(seen.append, 1000, clock=lambda: now[0])

        meter.begin("a")
        for second, done in enumerate((0, 500, 0, 100)):
            now[0] = float(second)
            meter.at("download", done)

        assert all(report.bytes_per_s >= 0 for report in seen)
        assert seen[-1].done_bytes == 100


def _recorded(folder: str, main: str, *, hub: str = "huggingface") -> Recorded:
    prefix = "hf" if hub == "huggingface" else "ms"
    return Recorded(
        name=f"{prefix}:org/m:q8_0",
        hub=hub,  # type: ignore[arg-type]
        repo="org/m",
        revision="main",
        commit="1" * 40,
        format="gguf",
        precision="q8_0",
        folder=folder,
        main=main,
        files=(RecordedFile(main, 50, "0" * 64),),
        created_at=1,
    )


def _record(tmp_path: Path, hub: str, folder: str) -> None:
    Records(tmp_path / "data" / "models.json").put(_recorded(folder, "m-q8_0.gguf", hub=hub))


def _all_files(environment: dict[str, str]) -> list[Path]:
    return [
        path
        for variable in ("HF_HOME", "MODELSCOPE_CACHE")
        for path in Path(environment[variable]).rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    ]
