"""`hearth repo`, and questions about a repository, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command_line import Hearth, served


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("code") / "shop"
    root.mkdir()
    (root / "basket.py").write_text("def total_price(basket):\n    return sum(basket)\n")
    (root / "app.py").write_text("from basket import total_price\n\n\ndef main():\n    ")
    return root


def test_a_folder_is_indexed_listed_searched_and_forgotten(hearth: Hearth, root: Path) -> None:
    added = hearth("repo", "add", str(root))
    assert added.code == 0 and "'shop' is indexed: 2 files" in added.err
    again = json.loads(hearth("repo", "add", str(root), "--json").out)
    assert (again["name"], again["num_files"], again["num_read"]) == ("shop", 2, 0)

    assert "shop" in hearth("repo", "list").out
    (one,) = json.loads(hearth("repo", "list", "--json").out)
    assert one["root"] == str(root)
    found = hearth("repo", "search", "shop", "where is total_price defined?")
    assert "basket.py:1-2\n    def total_price(basket):" in found.out
    (best,) = json.loads(hearth("repo", "search", "shop", "total_price", "-n", "1", "--json").out)
    assert best["path"] == "basket.py"
    nothing = hearth("repo", "search", "shop", "zebra")
    assert nothing.code == 0 and not nothing.out and "Nothing is found" in nothing.err

    assert hearth("repo", "rm", "shop").code == 0
    assert "No repository is indexed" in hearth("repo", "list").err
    assert (root / "basket.py").exists()


def test_wrong_input_says_what_to_do(hearth: Hearth, tmp_path: Path) -> None:
    missing = hearth("repo", "search", "nope", "x")
    assert missing.code != 0 and "hearth repo add PATH" in missing.err
    nowhere = hearth("repo", "add", str(tmp_path / "nowhere"))
    assert nowhere.code != 0 and "is no folder" in nowhere.err
    (tmp_path / "empty").mkdir()
    empty = hearth("repo", "add", str(tmp_path / "empty"))
    assert empty.code == 0 and "No file of a known language" in empty.err
    assert hearth("repo", "add", str(tmp_path / "empty"), "--name", "a/b").code == 2
    both = hearth("run", "--repo", "x", "--verify", __file__, "f")
    assert both.code == 2 and "do not go together" in both.err


def test_an_answer_and_a_completion_say_what_the_model_read(hearth: Hearth, root: Path) -> None:
    hearth("repo", "add", str(root))
    with served(hearth):
        asked = hearth("run", "--repo", "shop", "--max-tokens", "8", "what does total_price do?")
        assert asked.code == 0 and asked.out
        assert "The model reads basket.py:1-2, app.py:1-4." in asked.err
        lines = hearth(
            "run", "--repo", "shop", "--max-tokens", "8", "--json", "what does total_price do?"
        ).out.splitlines()
        assert "basket.py:1-2" in json.loads(lines[-1])["shown"]
        filled = hearth("complete", f"{root}/app.py", "--repo", "shop", "--max-tokens", "8")
        assert filled.code == 0
        unknown = hearth("run", "--repo", "shp", "x")
        assert unknown.code != 0 and "did you mean shop?" in unknown.err
