"""What a cancelled pull leaves: nothing of its own, and everything of others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hub_samples import MakeStore, gguf_bytes
from loopback_hub import LoopbackHub

from codehearth.errors import BadWeights
from codehearth.models.progress import Progress
from codehearth.models.removal import remove_partial_files


class Stopped(Exception):
    """Raised by the progress callback, as a cancel does."""


def stop_midway(progress: Progress) -> None:
    if progress.stage == "download" and progress.done_bytes > 100_000:
        raise Stopped


@pytest.mark.parametrize("prefix", ["hf", "ms"])
def test_half_a_file_goes_and_whole_ones_stay(
    hub: LoopbackHub, make_store: MakeStore, tmp_path: Path, prefix: str
) -> None:
    hub.add("org/coder-GGUF", {"c-Q4_K_M.gguf": gguf_bytes(), "c-Q8_0.gguf": gguf_bytes(9_000_000)})
    store = make_store()
    whole = store.pull(f"{prefix}:org/coder-GGUF:Q4_K_M")
    with pytest.raises(Stopped):
        store.pull(f"{prefix}:org/coder-GGUF:Q8_0", progress=stop_midway)
    (half,) = tmp_path.rglob("*.incomplete")
    size = half.stat().st_size
    assert size > 0

    freed = store.discard(f"{prefix}:org/coder-GGUF:Q8_0")

    assert freed == size and not half.exists()
    assert store.find(whole.name).path.exists()
    assert store.discard(f"{prefix}:org/coder-GGUF:Q8_0") == 0


def test_a_link_out_of_the_cache_is_not_followed(
    hub: LoopbackHub, make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store()
    folder = store.places.huggingface_cache / "models--org--coder-GGUF" / "blobs"
    folder.mkdir(parents=True)
    precious = tmp_path / ("a" * 64 + ".incomplete")
    precious.write_bytes(b"precious")
    (folder / precious.name).symlink_to(precious)

    assert store.discard("hf:org/coder-GGUF") == 0
    assert precious.read_bytes() == b"precious"


def test_a_folder_outside_of_the_cache_is_refused(tmp_path: Path) -> None:

    cache, outside = tmp_path / "cache", tmp_path / "outside"
    cache.mkdir()
    outside.mkdir()
    (outside / "x.incomplete").touch()
    (cache / "blobs").symlink_to(outside)

    with pytest.raises(BadWeights):
        remove_partial_files(cache, cache / "blobs", re.compile(".+"))

    assert (outside / "x.incomplete").exists()
