"""Writes the reference pages and the manual from the code; a test tells when they are old."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from chinese import in_chinese
from reference_pages import catalogue_page, environments_page, errors_page, routes_page

from codehearth.cli.connect.page import editors_page
from codehearth.cli.manual import manual
from codehearth.cli.reference import command_page, settings_page

DOCS = Path(__file__).parent.parent / "docs"


PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": command_page,
    "settings.md": settings_page,
    "editors.md": editors_page,
    "errors.md": errors_page,
    "routes.md": routes_page,
    "catalogue.md": catalogue_page,
    "environments.md": environments_page,
    "hearth.1": manual,
    "zh/reference/cli.md": in_chinese(command_page),
    "zh/reference/settings.md": in_chinese(settings_page),
    "zh/reference/errors.md": in_chinese(errors_page),
}


def main() -> None:
    for name, page in PAGES.items():
        DOCS.joinpath(name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
