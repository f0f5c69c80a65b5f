"""`starter:bf16`: made of the packaged GGUF when wanted, once, and anew where it is not whole."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from codehearth.errors import DiskFull, NotFound
from codehearth.models.starter_checkpoint import StarterCheckpoint
from codehearth.models.store import Store
from codehearth.models.tuned import ADAPTER, MERGED, TunedModel
from tests.cli.command_line import HEARTH, Hearth
from tests.starter_files import store_at

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Conversion:
    """Writes a checkpoint's files as the lab does, small ones, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, gguf: Path, folder: Path) -> None:
        assert gguf.name == "starter.gguf" and not list(folder.iterdir())
        self.times += 1
        (folder / CONFIG).write_text('{"torch_dtype": "bfloat16"}')
        (folder / WEIGHTS).write_bytes(bytes(100))


@pytest.fixture
def conversion() -> Conversion:
    return Conversion()


@pytest.fixture
def checkpoint(tmp_path: Path, conversion: Conversion) -> StarterCheckpoint:
    return StarterCheckpoint(tmp_path / "data", conversion)


def test_it_is_made_once_and_its_hashes_are_known(
    checkpoint: StarterCheckpoint, conversion: Conversion, tmp_path: Path
) -> None:
    found = [checkpoint.whole() for _ in range(3)]

    assert conversion.times == 1
    assert found[0] == found[2] == checkpoint.here()
    assert (found[0].format, found[0].precision, found[0].source) == (
        "safetensors", "bf16", "package",
    )  # fmt: skip
    assert found[0].files == (CONFIG, WEIGHTS)
    store = Store(tmp_path / "data", write_checkpoint=conversion)
    assert {file.state for file in store.verify("starter:bf16")} == {"ok"}
    assert "starter:bf16" not in [model.name for model in store.models()]


def _damage(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(bytes(99) + b"?")


def _cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def _lose(folder: Path) -> None:
    (folder / CONFIG).unlink()


def _lose_record(folder: Path) -> None:
    folder.with_name("starter-bf16.json").unlink()


def _spoil_record(folder: Path) -> None:
    folder.with_name("starter-bf16.json").write_text('{"files": 3}')


def _say(**facts: object) -> Callable[[Path], None]:
    def say(folder: Path) -> None:
        path = folder.with_name("starter-bf16.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | facts))

    return say


@pytest.mark.parametrize(
    "harm",
    [
        _damage, _cut, _lose, _lose_record, _spoil_record,
        _say(gguf="0" * 64), _say(conversion=0), _say(files={"../x": ""}, sizes={"../x": 0}),
    ],
)  # fmt: skip
def test_one_that_is_not_whole_or_of_another_gguf_is_made_anew(
    harm: Callable[[Path], None], checkpoint: StarterCheckpoint, conversion: Conversion
) -> None:
    whole = checkpoint.whole()

    harm(whole.folder)

    assert checkpoint.whole().sha256 == whole.sha256
    assert conversion.times == 2
    assert (whole.folder / WEIGHTS).read_bytes() == bytes(100)


def test_of_several_that_want_it_at_once_one_makes_it(
    tmp_path: Path, conversion: Conversion
) -> None:
    start = Barrier(4)

    def want(_: int) -> tuple[str, ...]:
        checkpoint = StarterCheckpoint(tmp_path / "data", conversion)
        start.wait()
        return checkpoint.whole().files

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(want, range(4)))

    assert found == {(CONFIG, WEIGHTS)} and conversion.times == 1


def test_one_that_was_killed_leaves_no_model_and_stops_nobody(
    checkpoint: StarterCheckpoint, conversion: Conversion, tmp_path: Path
) -> None:
    code = (
        "import sys, time; from pathlib import Path;"
        "from codehearth.models.starter_checkpoint import StarterCheckpoint;"
        "half = lambda gguf, folder: ((folder / 'model.safetensors').write_bytes(b'half'),"
        " print('half', flush=True), time.sleep(60));"
        "StarterCheckpoint(Path(sys.argv[1]), half).whole()"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "data")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as maker:
        assert maker.stdout is not None and maker.stdout.readline() == b"half\n"
        os.kill(maker.pid, signal.SIGKILL)

    assert checkpoint.here().files == ()
    assert (checkpoint.whole().folder / WEIGHTS).read_bytes() == bytes(100)
    assert not list((tmp_path / "data").glob("*.unfinished"))


def test_one_that_failed_leaves_nothing(tmp_path: Path) -> None:
    def write(_: Path, folder: Path) -> None:
        (folder / WEIGHTS).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DiskFull, match="No space left") as told:
        StarterCheckpoint(tmp_path, write).whole()

    assert "HEARTH_DATA" in (told.value.hint or "")
    assert [path.name for path in tmp_path.iterdir()] == ["starter-bf16.lock"]


def test_its_room_is_freed_and_it_comes_back_when_it_is_wanted(
    tmp_path: Path, conversion: Conversion
) -> None:
    store = Store(tmp_path, write_checkpoint=conversion)
    with pytest.raises(NotFound, match="takes no room"):
        store.remove("starter:bf16")
    num_bytes = store.find("starter:bf16").num_bytes

    assert store.remove("starter:bf16") == num_bytes > 100
    assert not store.starter_checkpoint.folder.exists()
    assert store.find("starter:bf16").num_bytes == num_bytes


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def hearth(tmp_path: Path) -> Hearth:
    home = tmp_path / "home"
    home.mkdir()
    return Hearth(home)


def test_what_it_takes_of_the_disk_is_listed_and_freed(hearth: Hearth) -> None:
    shown = hearth("show", "starter:bf16", "--json").document
    listed = {one["name"]: one for one in hearth("ls", "--json").document}

    removed = hearth("rm", "starter:bf16", "--yes")

    assert (
        listed["starter:bf16"]["num_bytes"] == shown["num_bytes"] > listed["starter"]["num_bytes"]
    )
    assert shown["path"] == str(hearth.data / "starter-bf16")
    assert removed.code == 0 and "free again" in removed.err
    assert [one["name"] for one in hearth("ls", "--json").document] == ["starter"]
    assert hearth("rm", "starter:bf16", "--yes").code == 4


def test_a_data_folder_that_cannot_be_written_is_told(hearth: Hearth) -> None:
    (hearth.home / "file").write_text("")

    refused = hearth("show", "starter:bf16", variables={"HEARTH_DATA": str(hearth.home / "file")})

    assert refused.code == 3
    assert "cannot be written to the data folder" in refused.err
    assert "let HEARTH_DATA name a folder that can be written" in refused.err


def test_a_disk_that_is_full_is_told_and_left_as_it_was(hearth: Hearth) -> None:
    disk = hearth.home / "small"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=1m none {disk} && "$@"; code=$?; ls {disk}; exit $code'
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no small disk can be made here: mounting needs user namespaces")

    refused = subprocess.run(
        [*words, *HEARTH, "show", "starter:bf16"],
        env={**hearth.environment, "HEARTH_DATA": str(disk)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 3, refused.stderr
    assert "No space left on device" in refused.stderr
    assert refused.stdout.split() == ["starter-bf16.lock"]


def test_an_adapter_on_it_finds_it_made(tmp_path: Path) -> None:
    """An engine was started on a folder that nobody had made yet."""
    store = store_at(tmp_path)
    made = tmp_path / "made-here"
    for part in (ADAPTER, MERGED):
        (made / part).mkdir(parents=True)
    store.tuned.put(TunedModel("me", "starter:bf16", "1", row="starter"), made)

    (served,) = store.served_by("starter:bf16+adapters")

    assert served.name == "me:peft" and (served.path / WEIGHTS).is_file()
    assert served.num_bytes == store.starter_checkpoint.here().num_bytes
