"""Reference pages that follow from the code: errors, routes, catalogue, environments."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from codehearth.cli.reference import Said
from codehearth.engines.recipes import RECIPES
from codehearth.errors import HearthError
from codehearth.gateway.app import DIALECTS, OF_THE_PAGE
from codehearth.gateway.documentation import describe_bodies
from codehearth.models.catalogue import Row, catalogue
from codehearth.models.names import HUB_PREFIXES

WRITTEN = "<!-- Written by scripts/write_reference.py; change the code, not this file. -->"


def errors_page(said: Said = str) -> str:
    """`docs/errors.md`: the tree of errors as HTTP and the command line show it."""
    lines = [
        f"# {said('Errors')}",
        "",
        WRITTEN,
        "",
        said(
            'Over HTTP an error is `{"error": {"message", "type", "code", "param"}}` in OpenAI\'s '
            "shape, and in its own where a dialect has one. The message says what was asked and "
            "what is so, and ends with what to do. Where waiting helps, `Retry-After` says how "
            "long. On the command line it is `error: …`, and after an empty line `hint: …`."
        ),
        "",
        said("| error | HTTP | `type` | `code` | exit code | when |"),
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for known, depth in _tree(HearthError):
        name = f"{'&nbsp;&nbsp;' * depth}`{known.__name__}`"
        code = f"`{known.code}`" if known.code else ""
        lines.append(
            f"| {name} | {known.status} | `{known.type}` | {code} | {known.exit_code} | "
            f"{said(_when(known))} |"
        )
    return "\n".join(lines) + "\n"


def routes_page() -> str:
    """`docs/routes.md`: every route of `/openapi.json`, with the fields of its body."""
    lines = [
        "# Routes",
        "",
        WRITTEN,
        "",
        "What [the API](api.md) says by dialect, here by address, made from `/openapi.json` of the "
        "server: put that address into any tool that reads OpenAPI.",
    ]
    document = _openapi()
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            lines += ["", f"## {method.upper()} {path}", ""]
            text = operation.get("description") or ""
            lines.append(" ".join(text.split()))
            lines += _fields(document, operation)
    return "\n".join(lines).rstrip() + "\n"


def catalogue_page() -> str:
    """`docs/catalogue.md`: a row for each model that has a short name."""
    rows = list(catalogue().values())
    lines = [
        "# Catalogue",
        "",
        WRITTEN,
        "",
        f"{len(rows)} models that have a short name. `hearth show NAME` tells more, with sources; "
        "`hearth fit NAME` whether it fits here. Any other repository is named as `hf:org/repo` or "
        "`ms:org/repo`. Sizes are of the named precision on disk; the makers' own numbers of "
        "parameters and context.",
        "",
        "| name | parameters | context | infills | from | precisions | licence |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(row) for row in rows]
    return "\n".join(lines) + "\n"


def environments_page() -> str:
    """`docs/environments.md`: what `hearth engines install` makes."""
    lines = [
        "# Engine environments",
        "",
        WRITTEN,
        "",
        "What `hearth engines install NAME` puts below the data folder. The pins are those of the "
        "file that is named; [engines](engines.md) tells how they are chosen.",
        "",
        "| engine | device | on disk | packages | main ones |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, devices in RECIPES.items():
        for device, recipe in devices.items():
            pins = [
                line.split(" ")[0].rstrip("\\").strip()
                for line in recipe.pins.read_text("utf-8").splitlines()
                if "==" in line and not line.startswith(("#", " "))
            ]
            main = [pin for pin in pins if pin.split("==")[0] in (name, "torch", "accelerate")]
            lines.append(
                f"| {name} | {device} | {recipe.num_bytes / 2**30:.1f} GiB | {len(pins)} | "
                f"{', '.join(f'`{pin}`' for pin in main)} |"
            )
    return "\n".join(lines) + "\n"


def _tree(root: type[HearthError], depth: int = 0) -> Iterator[tuple[type[HearthError], int]]:
    yield root, depth
    for branch in root.__subclasses__():
        if branch.__module__ == root.__module__:
            yield from _tree(branch, depth + 1)


def _when(known: type[HearthError]) -> str:
    """What the tree at the top of `errors.py` says of a class."""
    drawn = inspect.getdoc(inspect.getmodule(known)) or ""
    for line in drawn.splitlines():
        words = line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()
        if words[:1] == [known.__name__]:
            return " ".join(words[2:] if words[1:2] and words[1].isdigit() else words[1:])
    return ""


def _openapi() -> dict[str, Any]:
    app = FastAPI(title="CodeHearth")
    for routes in (*DIALECTS, *OF_THE_PAGE):
        app.include_router(routes.router)
    describe_bodies(app)
    return app.openapi()


def _fields(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[str]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = _resolved(document, body.get("schema", {}))
    properties = schema.get("properties", {})
    if not properties:
        return
    yield ""
    yield "| field | type | bounds |"
    yield "| --- | --- | --- |"
    required = schema.get("required", ())
    for name, facts in properties.items():
        star = " (needed)" if name in required else ""
        yield f"| `{name}`{star} | {_type(document, facts)} | {_bounds(document, facts)} |"


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref", "")
    if reference.startswith("#/components/schemas/"):
        found: dict[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
        return found
    return schema


def _type(document: dict[str, Any], facts: dict[str, Any]) -> str:
    if "anyOf" in facts:
        names = [_type(document, one) for one in facts["anyOf"]]
        return " or ".join(dict.fromkeys(name for name in names if name != "null"))
    if "$ref" in facts:
        return "object"
    if "enum" in facts:
        return " or ".join(f"`{value}`" for value in facts["enum"])
    if "const" in facts:
        return f"`{facts['const']}`"
    if facts.get("type") == "array":
        return f"list of {_type(document, facts.get('items', {}))}"
    return str(facts.get("type", "anything"))


_BOUNDS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "maxLength": "≤ {} characters", "maxItems": "≤ {} entries", "minItems": "≥ {} entries",
}  # fmt: skip


def _bounds(document: dict[str, Any], facts: dict[str, Any]) -> str:
    all_facts = [facts, *facts.get("anyOf", ())]
    said = [
        text.format(one[key]) for one in all_facts for key, text in _BOUNDS.items() if key in one
    ]
    return ", ".join(dict.fromkeys(said))


def _row(row: Row) -> str:
    hubs = [hub for key, hub in HUB_PREFIXES.items() if any(one.repo(key) for one in row.files)]
    context = f"{row.context_tokens // 1024}K"
    precisions = ", ".join(row.precisions[:6]) + (", …" if len(row.precisions) > 6 else "")
    return (
        f"| `{row.name}` | {_count(row.num_parameters)} | {context} | "
        f"{'yes' if row.fim else ''} | {', '.join(hubs) or 'the package'} | {precisions} | "
        f"{row.licence} |"
    )


def _count(number: int) -> str:
    return f"{number / 1e9:.3g}B" if number >= 1e9 else f"{number / 1e6:.3g}M"
