"""docs/api.md names every route that there is, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.routing import Route

from codehearth.gateway import app

PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"
_ROW = re.compile(r"^\| `(GET|POST|PUT|DELETE) (/\S*?)`", re.M)


def test_the_page_of_the_api_names_all_routes_and_no_other() -> None:
    routes = {
        (method, re.sub(r":path}", "}", route.path))
        for dialect in app.DIALECTS
        for route in dialect.router.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }

    assert set(_ROW.findall(PAGE.read_text("utf-8"))) == routes
