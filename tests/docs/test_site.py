"""The documentation as a site: what is in its navigation, and in which language it speaks."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from scripts.write_reference import PAGES as REFERENCE
from tests.docs.pages import GUIDES, ROOT

ZENSICAL = ROOT / "build" / "environments" / "docs" / "bin" / "zensical"


def test_the_site_has_every_guide_and_reference_page() -> None:
    site = tomllib.loads(ROOT.joinpath("zensical.toml").read_text("utf-8"))["project"]
    text = str(site["nav"])
    wanted = [*(f"guide/{name}" for name in GUIDES), *(f"zh/{name}" for name in GUIDES)]
    wanted += [name for name in REFERENCE if name.endswith(".md")]

    assert site["theme"]["font"] is False
    for page in wanted:
        assert f"'{page}'" in text


@pytest.mark.skipif(not ZENSICAL.exists(), reason="`make site` has not made the generator's place")
def test_the_site_speaks_the_language_of_its_page(tmp_path: Path) -> None:
    """Around Chinese guides the theme said "On this page" and "Next", and called them English."""
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    for name in ("docs", "scripts/site"):
        shutil.copytree(ROOT / name, tmp_path / name)

    argv = [str(ZENSICAL), "build", "--strict"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "build" / "site"
    assert '<html lang="en"' in site.joinpath("guide", "team.html").read_text("utf-8")
    assert '<html lang="zh"' in site.joinpath("zh", "team.html").read_text("utf-8")
    assert "On this page" not in site.joinpath("zh", "team.html").read_text("utf-8")
    assert site.joinpath("assets", "site.css").is_file()
