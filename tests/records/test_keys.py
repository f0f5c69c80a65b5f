"""Keys open the door, digests are all that is kept, and damage does not open it."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from codehearth.errors import HearthError, InvalidRequest, NotFound
from codehearth.records.database import FILE_NAME
from codehearth.records.keys import Keys


def test_a_new_key_is_found_by_its_text_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    keys = Keys(tmp_path)

    key = keys.create("ada", role="admin")

    found = keys.find(key)
    assert found is not None
    assert (found.name, found.role) == ("ada", "admin")
    assert key.startswith("sk-") and len(key) >= 46
    keys.close()
    assert key.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_another_process_sees_a_revocation_at_once(tmp_path: Path) -> None:
    server, operator = Keys(tmp_path), Keys(tmp_path)
    key = operator.create("ada")
    assert server.find(key)

    operator.revoke("ada")

    assert server.find(key) is None


def test_keys_are_required_from_the_first_one_on_even_when_all_are_revoked(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    assert not keys.are_required()

    keys.create("ada")
    keys.revoke("ada")

    assert keys.are_required()


@pytest.mark.parametrize("text", ["", "sk-", "sk-\udcff", "x" * 100_000, "sk-' OR 1=1 --"])
def test_a_text_that_is_no_key_is_not_found(tmp_path: Path, text: str) -> None:
    keys = Keys(tmp_path)
    keys.create("ada")

    assert keys.find(text) is None


@pytest.mark.parametrize("name", ["", "   ", "a" * 65, "a\nb"])
def test_a_name_must_be_readable(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest):
        Keys(tmp_path).create(name)


def test_a_name_is_used_once_until_it_is_revoked(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.create("ada")
    with pytest.raises(InvalidRequest, match="already"):
        keys.create("ada")

    keys.revoke("ada")

    assert keys.create("ada")


def test_revoking_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nobody"):
        Keys(tmp_path).revoke("nobody")


def test_the_file_is_private(tmp_path: Path) -> None:
    Keys(tmp_path)

    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"\0" * 100 + content[100:],
        lambda content: content[:4096] + os.urandom(len(content) - 4096),
        lambda content: os.urandom(len(content)),
        lambda content: content[:5000],
        lambda _: b"<html>not a database</html>" * 40,
    ],
    ids=["zeroed header", "garbage pages", "garbage", "cut short", "html"],
)
def test_a_damaged_file_is_put_aside_and_the_door_stays_closed(tmp_path: Path, damage) -> None:
    keys = Keys(tmp_path)
    key = keys.create("ada")
    keys.close()
    path = tmp_path / FILE_NAME
    path.write_bytes(damage(path.read_bytes()))

    again = Keys(tmp_path)

    assert again.are_required()
    assert again.find(key) is None
    assert list(tmp_path.glob("*.damaged-*"))
    assert again.create("ada")


def test_a_deleted_file_does_not_open_the_door(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.create("ada")
    keys.close()
    (tmp_path / FILE_NAME).unlink()

    assert Keys(tmp_path).are_required()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")

    with pytest.raises(HearthError, match="cannot be opened"):
        Keys(tmp_path / "data")


def test_a_reader_is_not_held_up_by_a_writer(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    key = keys.create("ada")
    writer = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    assert keys.find(key)

    writer.close()
