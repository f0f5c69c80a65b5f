"""A parsed body to a typed request, with errors that name the field as OpenAI's do."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from codehearth.errors import InvalidRequest

RequestShape = TypeVar("RequestShape", bound=BaseModel)


def validated(
    shape: type[RequestShape], body: dict[str, Any], *, strict: bool | None = None
) -> RequestShape:
    """The request; not `strict` where numbers come as text.

    Raises InvalidRequest whose `param` is the field, as in `messages[0].role`.
    """
    given = {name: value for name, value in body.items() if value is not None}
    try:
        return shape.model_validate(given, strict=strict)
    except ValidationError as error:
        first = _clearest(error)
        param = _field_path(first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        told = f"'{param}': {message}." if param else f"{message[:1].upper()}{message[1:]}."
        raise InvalidRequest(told, param=param or None) from error


def _clearest(error: ValidationError) -> Any:
    """Of the branches of a union, the one that was meant: where the type is right and something
    else is not, or else the deepest complaint."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return max(problems, key=lambda one: (not one["type"].endswith("_type"), len(one["loc"])))


def _field_path(location: tuple[int | str, ...]) -> str:
    """`('messages', 0, 'role')` as `messages[0].role`; names of union branches are left out."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part not in ("str", "int", "float"):
            path += f".{part}" if path else part
    return path[:200]
