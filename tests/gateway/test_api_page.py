"""docs/api.md names every route that there is, and none that is not.

What only our own page asks, below `/hearth/`, may stand in docs/page-api.md instead.
"""

from __future__ import annotations

import re
from pathlib import Path

from starlette.routing import Route

from codehearth.gateway import app

DOCS = Path(__file__).parent.parent.parent / "docs"
_ROW = re.compile(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/\S*?)`", re.M)


def _routes() -> set[tuple[str, str]]:
    return {
        (method, route.path.replace(":path}", "}"))
        for dialect in app.DIALECTS
        for route in dialect.router.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }


def test_the_page_of_the_api_names_all_routes_and_no_other() -> None:
    named = set(_ROW.findall((DOCS / "api.md").read_text("utf-8")))
    routes = _routes()

    assert named <= routes
    assert {path for _, path in routes - named if not path.startswith("/hearth/")} == set()


def test_what_our_own_page_asks_is_on_its_page() -> None:
    """The names of ids differ there; a path with its method is what counts."""
    page = re.sub(r"{\w+}", "{}", (DOCS / "page-api.md").read_text("utf-8"))
    listed = re.sub(r"{\w+}", "{}", (DOCS / "api.md").read_text("utf-8"))

    for _, path in _routes():
        assert re.sub(r"{\w+}", "{}", path).rpartition("/")[2] in page + listed, path
