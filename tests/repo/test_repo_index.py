"""Folders indexed for real: what is read, what is left out, what a refresh sees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codehearth.errors import InvalidRequest, NotFound, RecordsUnavailable
from codehearth.repo.query import terms_of
from codehearth.repo.shelf import Shelf

Write = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "my shop"
    folder.mkdir()
    write(folder, "src/basket.py", "def total_price(basket):\n    return sum(basket)\n")
    write(folder, "src/mail.py", "def send_invoice(order):\n    return 'sent'\n")
    write(folder, "docs/如何.md", "# 如何计算总价\n\n调用 total_price。\n")
    return folder


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "data")


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def paths(shelf: Shelf, question: str, name: str = "my-shop") -> list[str]:
    return [one.path for one in shelf.get(name).search(terms_of(question), limit=10)]


def test_code_is_found_by_its_names_its_words_and_in_chinese(shelf: Shelf, root: Path) -> None:
    name, done = shelf.add(root, None)

    assert (name, done.num_files, done.num_read) == ("my-shop", 3, 3)
    (best, *_) = shelf.get(name).search(terms_of("who calls totalPrice or total_price?"), limit=5)
    assert best.place == "src/basket.py:1-2" and "return sum(basket)" in best.text
    assert paths(shelf, "where are invoices sent") == ["src/mail.py"]
    assert paths(shelf, "怎么计算总价") == ["docs/如何.md"]
    assert paths(shelf, "nothing of that kind, zebra") == []
    without = shelf.get(name).search(terms_of("total_price"), limit=5, without="src/basket.py")
    assert [one.path for one in without] == ["docs/如何.md"]


def test_a_refresh_reads_what_changed_and_forgets_what_is_gone(shelf: Shelf, root: Path) -> None:
    shelf.add(root, None)
    write(root, "src/basket.py", "def discount(basket):\n    return 0\n")
    (root / "src" / "mail.py").unlink()

    _, done = shelf.add(root, None)

    assert (done.num_read, done.num_gone) == (1, 1)
    assert paths(shelf, "discount") == ["src/basket.py"]
    assert paths(shelf, "send_invoice") == []
    assert "src/basket.py" not in paths(shelf, "total_price")
    assert shelf.add(root, None)[1].num_read == 0


def test_secrets_links_builds_and_what_is_no_text_stay_out(shelf: Shelf, root: Path) -> None:
    outside = root.parent / "outside.py"
    outside.write_text("def outside_secret(): pass\n")
    for name in (".env", ".git-secret/a.py", "node_modules/x/a.js", "deploy/id_rsa.py", "a.env"):
        write(root, name, "zebra = 1\n")
    write(root, "server.key", "zebra\n")
    (root / "link.py").symlink_to(outside)
    (root / "folder").symlink_to(root.parent, target_is_directory=True)
    (root / "binary.py").write_bytes(b"zebra\0\xff")
    write(root, "minified.js", "zebra();" * 1000)
    write(root, "huge.py", "zebra = 1\n" * 60_000)

    shelf.add(root, None)

    assert paths(shelf, "zebra") == [] and paths(shelf, "outside_secret") == []


def git(root: Path, *words: str) -> None:
    home = {"HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
    subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, env=home)


def test_git_says_what_is_ignored_and_its_hooks_are_not_run(shelf: Shelf, root: Path) -> None:
    git(root, "init", "-q")
    git(root, "remote", "add", "origin", "git@example.org:team/shop.git")
    hook = root.parent / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {root.parent}/hooked\n")
    hook.chmod(0o755)
    git(root, "config", "core.fsmonitor", str(hook))
    write(root, ".gitignore", "generated/\n")
    write(root, "generated/a.py", "zebra = 1\n")
    write(root, "new.py", "giraffe = 1\n")

    shelf.add(root, None)

    assert paths(shelf, "zebra") == [] and paths(shelf, "giraffe") == ["new.py"]
    assert shelf.get("my-shop").facts().git_urls == ("git@example.org:team/shop.git",)
    assert not (root.parent / "hooked").exists()


def test_names_are_checked_and_never_lead_out_of_the_folder(
    shelf: Shelf, root: Path, tmp_path: Path
) -> None:
    shelf.add(root, "shop")

    with pytest.raises(NotFound, match="shpo") as missing:
        shelf.get("shpo")
    assert missing.value.hint == "did you mean shop?"
    for bad in ("../x", "a/b", "", ".hidden", "x" * 65):
        with pytest.raises((InvalidRequest, NotFound)):
            shelf.get(bad)
    with pytest.raises(InvalidRequest, match="no name"):
        shelf.add(root, "../x")
    with pytest.raises(InvalidRequest, match="is the name of"):
        shelf.add(tmp_path, "shop")
    with pytest.raises(InvalidRequest, match="is no folder"):
        shelf.add(tmp_path / "nowhere", None)
    shelf.remove("shop")
    assert shelf.names() == () and list((tmp_path / "data" / "repositories").iterdir()) == []


def test_a_folder_that_is_gone_keeps_its_index_and_a_damaged_index_is_made_anew(
    shelf: Shelf, root: Path
) -> None:
    shelf.add(root, "shop")
    moved = root.rename(root.parent / "moved")
    with pytest.raises(RecordsUnavailable, match="is not there any more"):
        shelf.get("shop").refresh()
    assert paths(shelf, "send_invoice", "shop") == ["src/mail.py"]
    moved.rename(root)

    shelf.get("shop").path.write_bytes(b"this is no database" * 100)

    assert shelf.all() == ()
    with pytest.raises(RecordsUnavailable, match="cannot be read"):
        paths(shelf, "send_invoice", "shop")
    shelf.add(root, "shop")
    assert paths(shelf, "send_invoice", "shop") == ["src/mail.py"]
    assert shelf.get("shop").path.stat().st_mode & 0o077 == 0
