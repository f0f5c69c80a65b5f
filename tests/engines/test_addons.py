"""What may be installed beside an engine's packages."""

from __future__ import annotations

from pathlib import Path

from codehearth.engines.recipes import ADDONS, RECIPES, recipes_of
from tests.cli.command_line import Hearth


def test_an_addon_makes_another_environment_of_the_same_engine() -> None:
    plain = RECIPES["transformers"]["cpu"]

    more = plain.with_addon("gptq")

    assert more.digest != plain.digest and more.num_bytes > plain.num_bytes
    assert {plain.digest, more.digest} <= {recipe.digest for recipe in recipes_of("transformers")}


def test_an_addons_pins_are_whole_and_name_no_registry() -> None:
    for addons in ADDONS.values():
        for addon in addons.values():
            lines = [line for line in addon.pins.read_text().splitlines() if line[:1] != "#"]
            assert lines == sorted(lines) and all(line.count("==") == 1 for line in lines)


def test_an_unknown_addon_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    hearth = Hearth(tmp_path)

    done = hearth("engines", "install", "transformers", "--cpu", "--with", "nonsense")

    assert done.code == 2
    assert "no add-on 'nonsense'" in done.err and "gptq" in done.err
    assert not (hearth.data / "engines").exists()
