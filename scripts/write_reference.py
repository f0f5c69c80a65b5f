"""Writes the reference pages and the manual from the code; a test tells when they are old."""

from __future__ import annotations

from pathlib import Path

from codehearth.cli.connect.page import editors_page
from codehearth.cli.manual import manual
from codehearth.cli.reference import command_page, settings_page

DOCS = Path(__file__).parent.parent / "docs"


def main() -> None:
    DOCS.joinpath("cli.md").write_text(command_page(), encoding="utf-8")
    DOCS.joinpath("settings.md").write_text(settings_page(), encoding="utf-8")
    DOCS.joinpath("editors.md").write_text(editors_page(), encoding="utf-8")
    DOCS.joinpath("hearth.1").write_text(manual(), encoding="utf-8")


if __name__ == "__main__":
    main()
