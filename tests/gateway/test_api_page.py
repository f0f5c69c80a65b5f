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
_NAMED = re.compile(r"`(GET|POST|PUT|PATCH|DELETE) (/[^\s`]*)`")


def _routes() -> set[tuple[str, str]]:
    return {
        (method, route.path.replace(":path}", "}"))
        for routes in (*app.DIALECTS, *app.OF_THE_PAGE)
        for route in routes.router.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }


def test_the_page_of_the_api_names_all_routes_and_no_other() -> None:
    named = set(_ROW.findall((DOCS / "api.md").read_text("utf-8")))
    routes = _routes()

    assert named <= routes
    assert {path for _, path in routes - named if not path.startswith("/hearth/")} == set()


def test_what_our_own_page_asks_is_on_its_page() -> None:
    """Every route below `/hearth/`, with its method, stands there or on the API's page.

    The names of ids differ, and what is behind a `?` is no route.
    """
    named = {
        (method, re.sub(r"{\w+}", "{}", path.partition("?")[0]))
        for page in ("page-api.md", "api.md")
        for method, path in _NAMED.findall((DOCS / page).read_text("utf-8"))
    }
    routes = {(method, re.sub(r"{\w+}", "{}", path)) for method, path in _routes()}

    assert {one for one in routes if one[1].startswith("/hearth/")} - named == set()
    assert {one for one in named if one[1].startswith("/hearth/")} - routes == set()
