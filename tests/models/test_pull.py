"""Pulling, with the real client libraries, from a hub that has every fault on command."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_samples import MakeStore, gguf_bytes
from loopback_hub import LoopbackHub

from codehearth.errors import BadWeights, DiskFull, HubFailed, ModelNotFound
from codehearth.models.huggingface import HuggingFace
from codehearth.models.progress import Progress
from codehearth.models.pull import RESERVE_BYTES
from codehearth.models.store import Store

BOTH_HUBS = pytest.mark.parametrize("prefix", ["hf", "ms"])

CONFIG = json.dumps({"architectures": ["Qwen2ForCausalLM"], "torch_dtype": "bfloat16"}).encode()


class Stopped(Exception):
    """Raised by a test's progress callback, as Ctrl-C or a shutdown would."""


def checkpoint_files(**more: bytes) -> dict[str, bytes]:
    """A sharded checkpoint with all that repositories usually hold beside it."""
    shards = {f"model-0000{n}-of-00002.safetensors": gguf_bytes(40_000, seed=n) for n in (1, 2)}
    index = {"weight_map": {f"layer.{n}": name for n, name in enumerate(shards)}}
    return {
        "README.md": b"# A model",
        ".gitattributes": b"* text",
        "config.json": CONFIG,
        "generation_config.json": b"{}",
        "tokenizer.json": b'{"model": {}}',
        "tokenizer_config.json": b"{}",
        "merges.txt": b"a b",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "pytorch_model.bin": b"a pickle",
        **shards,
        **{name.replace("__", "."): body for name, body in more.items()},
    }


class TestWhatArrives:
    @BOTH_HUBS
    def test_a_quantisation_arrives_as_it_is_on_the_hub(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        body = gguf_bytes()
        commit = hub.add("org/coder-GGUF", {"c-Q4_K_M.gguf": body, "c-Q8_0.gguf": gguf_bytes(9)})

        model = make_store().pull(f"{prefix}:org/coder-GGUF:q4_k_m")

        assert model.name == f"{prefix}:org/coder-GGUF:q4_k_m"
        assert model.path.read_bytes() == body
        assert model.revision == commit.id
        assert (model.format, model.precision, model.source) == (
            "gguf",
            "q4_k_m",
            f"{prefix}:org/coder-GGUF",
        )
        assert not hub.bodies("c-Q8_0.gguf")

    @BOTH_HUBS
    def test_a_checkpoint_comes_with_its_texts_and_nothing_else(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        files = checkpoint_files()
        hub.add("org/coder", files)

        model = make_store().pull(f"{prefix}:org/coder")

        assert model.path.is_dir()
        assert (model.format, model.precision) == ("safetensors", "bf16")
        taken = {path.name for path in model.path.iterdir()}
        assert taken == set(files) - {"README.md", ".gitattributes", "pytorch_model.bin"}
        for name in ("README.md", ".gitattributes", ".bin"):
            assert not hub.bodies(name)

    @BOTH_HUBS
    def test_all_parts_of_a_split_model_arrive(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        parts = {f"Q4_K_M/big-Q4_K_M-0000{n}-of-00003.gguf": gguf_bytes(n * 9) for n in (1, 2, 3)}
        hub.add("org/big-GGUF", parts)

        model = make_store().pull(f"{prefix}:org/big-GGUF:q4_k_m")

        assert model.path.name == "big-Q4_K_M-00001-of-00003.gguf"
        assert {path.name for path in model.path.parent.iterdir()} == {
            name.rsplit("/", 1)[1] for name in parts
        }

    def test_a_model_of_the_catalogue_gets_the_catalogues_name(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add(
            "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            {"qwen2.5-coder-0.5b-instruct-q4_k_m.gguf": gguf_bytes()},
        )

        model = make_store().pull("Qwen2.5-Coder:0.5b")

        assert model.name == "qwen2.5-coder-0.5b:q4_k_m"
        assert model.row is not None
        assert model.row.fim == "qwen"

    def test_real_huggingface_hub_finds_the_files_offline(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download

        hub.add("org/coder", checkpoint_files())
        model = make_store().pull("hf:org/coder")
        cache = Path(environment["HF_HOME"]) / "hub"

        path = hf_hub_download("org/coder", "config.json", cache_dir=cache, local_files_only=True)
        folder = snapshot_download("org/coder", cache_dir=cache, local_files_only=True)

        assert Path(path).read_bytes() == CONFIG
        assert Path(folder) == model.path
        assert not scan_cache_dir(cache).warnings

    def test_real_modelscope_hub_finds_the_files_offline(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        from modelscope_hub import HubApi, HubConfig

        hub.add("org/coder", checkpoint_files())
        model = make_store().pull("ms:org/coder")
        cache = Path(environment["MODELSCOPE_CACHE"])

        api = HubApi(HubConfig(cache_dir=cache, config_dir=cache / "home"))
        folder = api.download_repo("org/coder", "model", cache_dir=cache, local_files_only=True)

        assert folder == model.path

    def test_a_file_above_the_limit_of_plain_http_is_left_to_the_library(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        body = gguf_bytes()
        hub.add("org/huge-GGUF", {"huge-q8_0.gguf": body})
        client = HuggingFace(make_store().places, plain_limit_bytes=1000)
        listing = client.listing("org/huge-GGUF", None)
        seen: list[tuple[str, int]] = []

        path = client.download(listing, listing.files[0], lambda *at: seen.append(at))

        assert path.read_bytes() == body
        assert ("download", len(body)) in seen
        assert ("verify", len(body)) in seen


class TestInterrupted:
    @BOTH_HUBS
    def test_a_download_stopped_at_any_place_goes_on_from_there(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        body = gguf_bytes(3_000_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        places = random.Random(7)
        stops = sorted(places.randrange(1, len(body)) for _ in range(20))

        for stop in stops:
            with pytest.raises(Stopped):
                make_store().pull(f"{prefix}:org/coder-GGUF", progress=_stop_at(stop))
        model = make_store().pull(f"{prefix}:org/coder-GGUF")

        assert model.path.read_bytes() == body
        begins = [_range_start(request.headers) for request in hub.bodies("/signed/")]
        assert begins == sorted(begins)
        assert begins[-1] > 0
        assert begins.count(0) <= 2

    @BOTH_HUBS
    def test_a_line_that_is_cut_is_taken_up_again(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        body = gguf_bytes(400_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        hub.faults.cut_after = [150_000]

        model = make_store().pull(f"{prefix}:org/coder-GGUF")

        assert model.path.read_bytes() == body
        assert _range_start(hub.bodies("/signed/")[-1].headers) > 0

    def test_a_line_that_is_cut_twenty_times_is_taken_up_again(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        body = gguf_bytes(400_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        places = random.Random(8)
        hub.faults.cut_after = [places.randrange(1, 20_000) for _ in range(20)]

        model = make_store().pull("hf:org/coder-GGUF")

        assert model.path.read_bytes() == body
        assert len(hub.bodies("/signed/")) == 21

    def test_a_killed_program_leaves_a_download_that_goes_on(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str], tmp_path: Path
    ) -> None:
        body = gguf_bytes(4_000_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        arrived, killed = threading.Event(), threading.Event()

        def wait_for_the_kill() -> None:
            arrived.set()
            killed.wait(30)

        hub.faults.at_offset[3_000_000] = wait_for_the_kill
        code = (
            "import os, sys; from pathlib import Path; from codehearth.models.store import Store;"
            "Store(Path(sys.argv[1]), environment=os.environ).pull('hf:org/coder-GGUF')"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "data")],
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert arrived.wait(60)
        partial = next(Path(environment["HF_HOME"]).rglob("*.incomplete"))
        _until(lambda: partial.stat().st_size > 1_000_000)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        killed.set()
        hub.faults.at_offset.clear()
        kept = partial.stat().st_size

        model = make_store().pull("hf:org/coder-GGUF")

        assert model.path.read_bytes() == body
        assert _range_start(hub.bodies("/signed/")[-1].headers) == kept

    @BOTH_HUBS
    def test_a_server_that_knows_no_ranges_sends_all_again(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        body = gguf_bytes(400_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        hub.faults.ignores_range = True
        hub.faults.cut_after = [150_000]

        model = make_store().pull(f"{prefix}:org/coder-GGUF")

        assert model.path.read_bytes() == body

    @BOTH_HUBS
    def test_a_part_that_was_not_asked_for_is_not_taken(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        body = gguf_bytes(400_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        hub.faults.wrong_range = True
        hub.faults.cut_after = [150_000]

        model = make_store().pull(f"{prefix}:org/coder-GGUF")

        assert model.path.read_bytes() == body

    def test_a_partial_file_that_is_damaged_is_thrown_away(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        body = gguf_bytes(400_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        with pytest.raises(Stopped):
            make_store().pull("hf:org/coder-GGUF", progress=_stop_at(1))
        partial = next(Path(environment["HF_HOME"]).rglob("*.incomplete"))
        partial.write_bytes(b"\0" * 200_000)

        model = make_store().pull("hf:org/coder-GGUF")

        assert model.path.read_bytes() == body

    def test_a_hub_in_passing_trouble_is_asked_again(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        body = gguf_bytes()
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        hub.faults.statuses = [503, 429]

        model = make_store().pull("hf:org/coder-GGUF")

        assert model.path.read_bytes() == body

    def test_two_programs_that_pull_one_model_fetch_it_once(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        body = gguf_bytes(2_000_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        paths: list[Path] = []
        threads = [
            threading.Thread(
                target=lambda: paths.append(make_store().pull("hf:org/coder-GGUF").path)
            )
            for _ in range(3)
        ]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [path.read_bytes() for path in paths] == [body] * 3
        assert len(hub.bodies("/signed/")) == 1


class TestWrongAnswers:
    @BOTH_HUBS
    def test_a_file_with_another_hash_is_refused_and_not_kept(
        self,
        hub: LoopbackHub,
        make_store: MakeStore,
        environment: dict[str, str],
        prefix: str,
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})
        hub.faults.flips_a_bit = True

        with pytest.raises(HubFailed, match="hash"):
            make_store().pull(f"{prefix}:org/coder-GGUF")

        assert not _weights_in(environment)
        assert len(make_store().models()) == len(_starters(make_store()))

    @BOTH_HUBS
    def test_a_web_page_instead_of_a_file_is_refused(
        self,
        hub: LoopbackHub,
        make_store: MakeStore,
        environment: dict[str, str],
        prefix: str,
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})
        hub.faults.sends_web_page = True

        with pytest.raises(HubFailed, match=r"[Ww]eb\s+page"):
            make_store().pull(f"{prefix}:org/coder-GGUF")

        assert not _weights_in(environment)

    @BOTH_HUBS
    def test_a_web_page_instead_of_a_list_is_refused(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})
        hub.faults.listing_is_web_page = True

        with pytest.raises(HubFailed, match="no list of the files"):
            make_store().pull(f"{prefix}:org/coder-GGUF")

    def test_more_bytes_than_the_file_has_are_refused(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})
        hub.faults.sends_too_much = True
        hub.faults.hides_lengths = True

        with pytest.raises(HubFailed, match="more than"):
            make_store().pull("hf:org/coder-GGUF")

        assert not _weights_in(environment)

    @BOTH_HUBS
    def test_a_repository_that_changed_in_between_is_fetched_as_it_is_now(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        """The old commit is gone, as after a forced push: its list is worth nothing."""
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes(200_000, seed=1)})
        new = gguf_bytes(300_000, seed=2)

        def change(progress: Progress) -> None:
            repository = hub.repositories["org/coder-GGUF"]
            if len(repository.commits) == 1 and progress.stage == "plan":
                hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": new})
                repository.commits.pop(0)
                repository.commits.append(repository.commits[0])

        model = make_store().pull(f"{prefix}:org/coder-GGUF", progress=change)

        assert model.path.read_bytes() == new
        assert model.revision == hub.repositories["org/coder-GGUF"].commits[-1].id

    def test_all_files_are_of_the_commit_that_was_listed(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        old = checkpoint_files()
        hub.add("org/coder", old)

        def change(progress: Progress) -> None:
            if progress.file == "tokenizer.json" and len(hub.repositories["org/coder"].commits) < 2:
                hub.add("org/coder", {name: body + b" " for name, body in old.items()})

        model = make_store().pull("hf:org/coder", progress=change)

        assert all((model.path / name).read_bytes() == old[name] for name in model.files)

    def test_a_repository_that_is_not_there_is_said_to_be_not_there(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        for name in ("hf:org/nothing", "ms:org/nothing"):
            with pytest.raises(ModelNotFound) as caught:
                make_store().pull(name)
            assert name in caught.value.message

    @BOTH_HUBS
    def test_a_revision_that_is_not_there_is_said_to_be_not_there(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})

        with pytest.raises(ModelNotFound, match="@v2"):
            make_store().pull(f"{prefix}:org/coder-GGUF@v2")

    def test_a_gated_repository_names_the_page_where_it_is_opened(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})
        hub.repositories["org/coder-GGUF"].is_gated = True

        with pytest.raises(HubFailed) as caught:
            make_store().pull("hf:org/coder-GGUF")

        assert "HF_TOKEN" in (caught.value.hint or "")


class TestTokens:
    @BOTH_HUBS
    def test_a_token_goes_to_its_hub_and_never_where_that_redirects(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes(), "config.json": CONFIG})
        hub.token = "a-secret-of-the-test"
        variables = {"HF_TOKEN": hub.token, "MODELSCOPE_API_TOKEN": hub.token}

        make_store(variables).pull(f"{prefix}:org/coder-GGUF")

        seen = {
            request.server: any(hub.token in value for value in request.headers.values())
            for request in hub.requests
        }
        assert seen == {"hub": True, "network": False}

    def test_one_hubs_token_is_not_shown_to_the_other(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})

        make_store({"HF_TOKEN": "for-hugging-face"}).pull("ms:org/coder-GGUF")
        make_store({"MODELSCOPE_API_TOKEN": "for-modelscope"}).pull("hf:org/coder-GGUF")

        for request in hub.requests:
            text = str(request.headers)
            is_modelscope = "/api/v1/" in request.path
            assert ("for-hugging-face" in text) is False or not is_modelscope
            assert ("for-modelscope" in text) is False or is_modelscope

    @BOTH_HUBS
    def test_no_error_tells_the_token(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})
        hub.token = "the-right-one"
        variables = {"HF_TOKEN": "the-wrong-one", "MODELSCOPE_API_TOKEN": "the-wrong-one"}

        with pytest.raises(HubFailed) as caught:
            make_store(variables).pull(f"{prefix}:org/coder-GGUF")

        assert "the-wrong-one" not in f"{caught.value.message} {caught.value.hint}"
        assert "TOKEN" in (caught.value.hint or "")


class TestRoom:
    @BOTH_HUBS
    def test_a_download_that_just_fits_is_made(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        body = gguf_bytes()
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})

        store = make_store(free_bytes=lambda _: len(body) + RESERVE_BYTES)

        assert store.pull(f"{prefix}:org/coder-GGUF").path.read_bytes() == body

    @BOTH_HUBS
    def test_a_download_one_byte_too_large_is_not_begun(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        body = gguf_bytes(2_340_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        store = make_store(free_bytes=lambda _: len(body) + RESERVE_BYTES - 1)

        with pytest.raises(DiskFull) as caught:
            store.pull(f"{prefix}:org/coder-GGUF")

        assert "2.34 MB are to be downloaded" in caught.value.message
        assert "1.00 GB free" in caught.value.message
        assert not hub.bodies("/signed/")

    @BOTH_HUBS
    def test_what_has_arrived_needs_no_room_again(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        body = gguf_bytes(3_000_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        with pytest.raises(Stopped):
            make_store().pull(f"{prefix}:org/coder-GGUF", progress=_stop_at(2_000_000))

        store = make_store(free_bytes=lambda _: RESERVE_BYTES + 2_000_000)

        assert store.pull(f"{prefix}:org/coder-GGUF").path.read_bytes() == body

    @BOTH_HUBS
    def test_a_disk_that_fills_up_keeps_what_arrived(
        self,
        hub: LoopbackHub,
        make_store: MakeStore,
        tiny_disk: Path,
        prefix: str,
    ) -> None:
        body = gguf_bytes(3_000_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        variables = {"HF_HOME": f"{tiny_disk}/hf", "MODELSCOPE_CACHE": f"{tiny_disk}/ms"}

        with pytest.raises(DiskFull):
            make_store(variables).pull(f"{prefix}:org/coder-GGUF")
        subprocess.run(["mount", "-o", "remount,size=8m", str(tiny_disk)], check=True)
        model = make_store(variables).pull(f"{prefix}:org/coder-GGUF")

        assert model.path.read_bytes() == body
        assert _range_start(hub.bodies("/signed/")[-1].headers) > 0


class TestWhichHub:
    ROW = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF"
    FILE = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"

    def test_modelscope_is_asked_where_hugging_face_cannot_be_reached(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add(self.ROW, {self.FILE: gguf_bytes()})

        model = make_store({"HF_ENDPOINT": _nobody()}).pull("qwen2.5-coder-0.5b")

        assert model.source == f"ms:{self.ROW}"

    def test_modelscope_is_asked_where_hugging_face_accepts_and_never_answers(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add(self.ROW, {self.FILE: gguf_bytes()})
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"

            model = make_store({"HF_ENDPOINT": endpoint}).pull("qwen2.5-coder-0.5b")

        assert model.source == f"ms:{self.ROW}"

    def test_the_choice_is_remembered(self, hub: LoopbackHub, make_store: MakeStore) -> None:
        hub.add(self.ROW, {self.FILE: gguf_bytes()})
        repo = "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF"
        hub.add(repo, {"qwen2.5-coder-1.5b-instruct-q4_k_m.gguf": gguf_bytes()})
        make_store().pull("qwen2.5-coder-0.5b")
        hub.requests.clear()

        make_store().pull("qwen2.5-coder-1.5b")

        assert not [request for request in hub.requests if request.method == "HEAD"]

    def test_a_remembered_hub_that_is_gone_is_left_for_the_other(
        self, hub: LoopbackHub, make_store: MakeStore, tmp_path: Path
    ) -> None:
        hub.add(self.ROW, {self.FILE: gguf_bytes()})
        endpoint = _nobody()
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "hub.json").write_text(
            json.dumps({"hub": "huggingface", "endpoint": endpoint, "at": 4_000_000_000})
        )
        notes: list[str] = []

        model = make_store({"HF_ENDPOINT": endpoint}).pull(
            "qwen2.5-coder-0.5b", progress=lambda p: notes.append(p.note or "")
        )

        assert model.source == f"ms:{self.ROW}"

    def test_a_model_that_is_gated_on_one_hub_comes_from_the_other(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        with LoopbackHub() as other:
            other.add(self.ROW, {self.FILE: gguf_bytes()})
            hub.add(self.ROW, {self.FILE: gguf_bytes()})
            hub.repositories[self.ROW].is_gated = True
            notes: list[str] = []

            model = make_store({"MODELSCOPE_ENDPOINT": other.endpoint}).pull(
                "qwen2.5-coder-0.5b", progress=lambda p: notes.append(p.note or "")
            )

        assert model.source == f"ms:{self.ROW}"
        assert any("ModelScope is asked instead" in note for note in notes)

    def test_a_download_that_broke_off_is_not_begun_anew_on_the_other_hub(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add(self.ROW, {self.FILE: gguf_bytes(400_000)})
        with LoopbackHub() as other:
            other.add(self.ROW, {self.FILE: gguf_bytes(400_000)})
            hub.faults.cut_after = [100_000]
            hub.faults.at_offset[90_000] = lambda: setattr(hub.faults, "is_down", True)

            with pytest.raises(HubFailed, match="kept"):
                make_store({"MODELSCOPE_ENDPOINT": other.endpoint}).pull("qwen2.5-coder-0.5b")

            assert not other.bodies("/signed/")

    def test_a_hub_that_was_set_is_asked_alone(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add(self.ROW, {self.FILE: gguf_bytes()})

        store = make_store({"HF_ENDPOINT": _nobody()}, hub="huggingface")

        with pytest.raises(HubFailed, match="Hugging Face could not be reached"):
            store.pull("qwen2.5-coder-0.5b")
        assert not hub.requests

    def test_no_hub_at_all_is_an_error_with_advice(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        store = make_store({"HF_ENDPOINT": _nobody(), "MODELSCOPE_ENDPOINT": _nobody()})

        with pytest.raises(HubFailed) as caught:
            store.pull("qwen2.5-coder-0.5b")

        assert caught.value.message == "Neither Hugging Face nor ModelScope could be reached."
        assert "HF_ENDPOINT" in (caught.value.hint or "")


class TestCode:
    @BOTH_HUBS
    def test_a_repository_with_python_code_is_refused_before_anything_is_fetched(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        commit = hub.add("org/coder", checkpoint_files(modeling_x__py=b"import os"))

        with pytest.raises(BadWeights, match=r"modeling_x\.py") as caught:
            make_store().pull(f"{prefix}:org/coder")

        assert f"org/coder@{commit.id}" in (caught.value.hint or "")
        assert not hub.bodies("/signed/")
        assert not hub.bodies(".py")

    @BOTH_HUBS
    def test_code_that_is_pointed_to_elsewhere_is_refused_before_the_weights(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        config = json.dumps({"auto_map": {"AutoModel": "other/repo--modeling.Model"}}).encode()
        hub.add("org/coder", checkpoint_files(config__json=config))

        with pytest.raises(BadWeights, match="auto_map"):
            make_store().pull(f"{prefix}:org/coder")

        assert not hub.bodies("/signed/")

    @BOTH_HUBS
    def test_code_is_taken_where_it_was_allowed_for_this_commit(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        commit = hub.add("org/coder", checkpoint_files(modeling_x__py=b"import os"))

        model = make_store(allow_code={"org/coder": commit.id}).pull(f"{prefix}:org/coder")

        assert (model.path / "modeling_x.py").read_bytes() == b"import os"

    def test_code_that_was_allowed_for_another_commit_is_refused(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        old = hub.add("org/coder", checkpoint_files(modeling_x__py=b"import os"))
        hub.add("org/coder", checkpoint_files(modeling_x__py=b"import os, socket"))

        with pytest.raises(BadWeights, match="Python code"):
            make_store(allow_code={"org/coder": old.id}).pull("hf:org/coder")

    def test_a_model_whose_code_is_no_longer_allowed_does_not_start(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        commit = hub.add("org/coder", checkpoint_files(modeling_x__py=b"import os"))
        make_store(allow_code={"org/coder": commit.id}).pull("hf:org/coder")

        with pytest.raises(BadWeights, match="Python code"):
            make_store().find("hf:org/coder")

    def test_pickled_weights_are_never_fetched(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add("org/old", {"config.json": CONFIG, "pytorch_model.bin": b"a pickle"})

        with pytest.raises(BadWeights, match="pickle"):
            make_store().pull("hf:org/old")

        assert not hub.bodies(".bin")

    def test_an_index_that_names_a_file_elsewhere_is_refused_before_the_weights(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        files = checkpoint_files()
        index = {"weight_map": {"layer.0": "../../../../etc/passwd"}}
        files["model.safetensors.index.json"] = json.dumps(index).encode()
        hub.add("org/coder", files)

        with pytest.raises(BadWeights, match="outside"):
            make_store().pull("hf:org/coder")

        assert not hub.bodies("/signed/")

    @BOTH_HUBS
    @pytest.mark.parametrize(
        "path", ["../../../evil-q4_k_m.gguf", "/tmp/evil-q4_k_m.gguf", "a\\..\\..\\evil.gguf"]
    )
    def test_a_list_with_a_path_out_of_the_folder_is_refused_as_a_whole(
        self, hub: LoopbackHub, make_store: MakeStore, tmp_path: Path, prefix: str, path: str
    ) -> None:
        hub.add("org/coder-GGUF", {path: gguf_bytes(), "coder-q8_0.gguf": gguf_bytes()})

        with pytest.raises(BadWeights, match="out of its folder"):
            make_store().pull(f"{prefix}:org/coder-GGUF")

        assert not list(tmp_path.rglob("*evil*"))


class TestChoices:
    def test_the_usual_quantisation_is_taken_and_the_choice_is_told(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add("org/coder-GGUF", {f"c-{q}.gguf": gguf_bytes(99) for q in ("Q8_0", "Q4_K_M")})
        seen: list[Progress] = []

        model = make_store().pull("hf:org/coder-GGUF", progress=seen.append)

        assert model.precision == "q4_k_m"
        assert any("q4_k_m is taken" in (p.note or "") and "q8_0" in (p.note or "") for p in seen)

    def test_without_the_usual_one_the_nearest_is_taken(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add(
            "org/coder-GGUF", {f"c-{q}.gguf": gguf_bytes(99) for q in ("Q8_0", "Q5_K_M", "F16")}
        )

        assert make_store().pull("hf:org/coder-GGUF").precision == "q5_k_m"

    def test_a_quantisation_that_is_not_there_tells_those_that_are(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add("org/coder-GGUF", {f"c-{q}.gguf": gguf_bytes(99) for q in ("Q8_0", "Q4_K_M")})

        with pytest.raises(ModelNotFound) as caught:
            make_store().pull("hf:org/coder-GGUF:q2_k")

        assert "q4_k_m, q8_0" in (caught.value.hint or "")

    def test_a_file_can_be_named(self, hub: LoopbackHub, make_store: MakeStore) -> None:
        hub.add("org/many", {"one.gguf": gguf_bytes(50), "sub/two.gguf": gguf_bytes(60)})

        model = make_store().pull("hf:org/many:sub/two.gguf")

        assert model.path.name == "two.gguf"
        assert make_store().find(model.name).path == model.path

    def test_the_commit_that_was_pulled_stays_until_a_revision_is_named(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        first = hub.add("org/coder-GGUF", {"c-q4_k_m.gguf": gguf_bytes(90, seed=1)})
        make_store().pull("hf:org/coder-GGUF")
        second = hub.add("org/coder-GGUF", {"c-q4_k_m.gguf": gguf_bytes(90, seed=2)})
        hub.requests.clear()

        again = make_store().pull("hf:org/coder-GGUF")
        asked = len(hub.requests)
        moved = make_store().pull("hf:org/coder-GGUF@main")

        assert make_store().find("hf:org/coder-GGUF@main").path == moved.path
        assert (again.revision, asked) == (first.id, 0)
        assert moved.revision == second.id
        assert make_store().find("hf:org/coder-GGUF").revision == second.id

    def test_a_pinned_model_whose_file_was_lost_comes_back_at_its_commit(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        old = checkpoint_files()
        first = hub.add("org/coder", old)
        model = make_store().pull("hf:org/coder")
        hub.add("org/coder", checkpoint_files(extra__json=b"{}"))
        lost = model.path / "model-00002-of-00002.safetensors"
        lost.resolve().unlink()
        lost.unlink()

        again = make_store().pull("hf:org/coder")

        assert again.revision == first.id
        assert lost.read_bytes() == old[lost.name]

    def test_a_commit_can_be_named(self, hub: LoopbackHub, make_store: MakeStore) -> None:
        first = hub.add("org/coder-GGUF", {"c-q4_k_m.gguf": gguf_bytes(90, seed=1)})
        hub.add("org/coder-GGUF", {"c-q4_k_m.gguf": gguf_bytes(90, seed=2)})

        for prefix in ("hf", "ms"):
            model = make_store().pull(f"{prefix}:org/coder-GGUF:q4_k_m@{first.id}")
            assert model.path.read_bytes() == gguf_bytes(90, seed=1)


class TestTheRecord:
    def test_a_data_folder_that_cannot_be_written_loses_only_the_record(
        self, hub: LoopbackHub, make_store: MakeStore, tmp_path: Path
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})
        (tmp_path / "data").write_bytes(b"not a folder")
        notes: list[str] = []

        model = make_store().pull(
            "hf:org/coder-GGUF", progress=lambda p: notes.append(p.note or "")
        )

        assert make_store().find("hf:org/coder-GGUF").path == model.path
        assert any("cannot be written" in note for note in notes)


class TestProgress:
    @BOTH_HUBS
    def test_it_tells_bytes_speed_and_time_left(
        self, hub: LoopbackHub, make_store: MakeStore, prefix: str
    ) -> None:
        body = gguf_bytes(3_000_000)
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": body})
        seen: list[Progress] = []

        make_store().pull(f"{prefix}:org/coder-GGUF", progress=seen.append)

        assert seen[0].stage == "plan"
        assert "commit" in (seen[0].note or "")
        assert seen[-1] == Progress("done", "", len(body), len(body))
        downloads = [p for p in seen if p.stage == "download"]
        assert all(p.total_bytes == len(body) for p in seen)
        assert [p.done_bytes for p in downloads] == sorted(p.done_bytes for p in downloads)
        assert all(p.left_s is None or p.left_s >= 0 for p in downloads)


class TestOffline:
    def test_told_to_be_offline_it_sends_nothing(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})

        for name in ("hf:org/coder-GGUF", "ms:org/coder-GGUF", "qwen2.5-coder-0.5b"):
            with pytest.raises(HubFailed, match="HF_HUB_OFFLINE"):
                make_store({"HF_HUB_OFFLINE": "1"}).pull(name)

        assert not hub.requests

    def test_a_model_that_is_here_needs_no_network(
        self, hub: LoopbackHub, make_store: MakeStore
    ) -> None:
        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})
        make_store().pull("hf:org/coder-GGUF")
        hub.requests.clear()

        offline = make_store({"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": _nobody()})

        assert offline.pull("hf:org/coder-GGUF") == offline.find("hf:org/coder-GGUF")
        assert not hub.requests

    def test_what_another_program_brought_serves_when_no_hub_answers(
        self, hub: LoopbackHub, make_store: MakeStore, environment: dict[str, str]
    ) -> None:
        from huggingface_hub import hf_hub_download

        hub.add("org/coder-GGUF", {"coder-q4_k_m.gguf": gguf_bytes()})
        cache = Path(environment["HF_HOME"]) / "hub"
        hf_hub_download(
            "org/coder-GGUF", "coder-q4_k_m.gguf", cache_dir=cache, endpoint=hub.endpoint
        )
        hub.faults.is_down = True

        model = make_store().pull("hf:org/coder-GGUF")

        assert model.name == "hf:org/coder-GGUF:q4_k_m"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB, where the tests may mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root on Linux can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def _stop_at(num_bytes: int):  # type: ignore[no-untyped-def]
    def progress(report: Progress) -> None:
        if report.stage == "download" and report.done_bytes >= num_bytes:
            raise Stopped

    return progress


def _range_start(headers: dict[str, str]) -> int:
    return int(headers.get("range", "bytes=0-").removeprefix("bytes=").split("-")[0])


def _weights_in(environment: dict[str, str]) -> list[Path]:
    """Files that look like whole weights in either cache."""
    return [
        path
        for variable in ("HF_HOME", "MODELSCOPE_CACHE")
        for path in Path(environment[variable]).rglob("*")
        if path.is_file() and (path.suffix == ".gguf" or len(path.name) == 64)
    ]


def _starters(store: Store) -> list[str]:
    return [model.name for model in store.models() if model.source == "package"]


def _nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def _until(condition) -> None:  # type: ignore[no-untyped-def]
    """Waits for what another process does; there is no event of it to wait for."""
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it never came to be")
