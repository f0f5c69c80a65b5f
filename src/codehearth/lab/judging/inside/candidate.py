"""The process that holds the code: it answers calls, or runs the tests itself.

Arguments: descriptor to read, descriptor to write, the folder of the files. One JSON a line.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import types
from typing import Any

from .values import NotPlain, packed, unpacked

MODULE = "solution"


def main(arguments: list[str]) -> None:
    sys.set_int_max_str_digits(0)
    heard = os.fdopen(int(arguments[0]), "r", encoding="utf-8")
    said = os.fdopen(int(arguments[1]), "w", encoding="utf-8")
    send, dump = said.write, json.dumps

    def tell(document: dict[str, Any]) -> None:
        send(dump(document) + "\n")
        said.flush()

    order = json.loads(heard.readline())
    names: dict[str, Any] = {"__name__": MODULE}
    try:
        exec(compile(order["code"], MODULE, "exec"), names)
    except BaseException as error:
        tell({"failed": _group(error), "detail": _told(error)})
        return
    if order["together"]:
        from .tests import run_tests

        result = run_tests(order["tests"], _public(names), order["entry"])
        tell({"finished": True})
        word = heard.readline().strip()
        tell({"result": result, "word": word})
        return
    tell(_described(names))
    for line in heard:
        call = json.loads(line)
        tell(_answer(names[call["name"]], unpacked(call["args"]), unpacked(call["keywords"])))


def _public(names: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if name not in ("__name__",)}


def _described(names: dict[str, Any]) -> dict[str, Any]:
    """What the code defined: functions to call, plain values, modules, and all else."""
    functions, values, modules, others = [], {}, {}, []
    for name, value in names.items():
        if name.startswith("__"):
            continue
        if isinstance(value, types.ModuleType):
            modules[name] = value.__name__
        elif callable(value) and not isinstance(value, type):
            functions.append(name)
        else:
            try:
                values[name] = packed(value)
            except NotPlain:
                others.append(name)
    return {"functions": functions, "values": values, "modules": modules, "others": others}


def _answer(function: Any, args: Any, keywords: Any) -> dict[str, Any]:
    try:
        value = function(*args, **keywords)
    except BaseException as error:
        return {"raised": type(error).__name__, "says": str(error)[:2000], "told": _told(error)}
    try:
        return {"value": packed(value), "args": packed(args)}
    except NotPlain as error:
        return {"not_plain": str(error)}


def _group(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return "syntax"
    if isinstance(error, MemoryError):
        return "memory"
    return "exit" if isinstance(error, SystemExit) else "exception"


def _told(error: BaseException) -> str:
    """The end of the traceback: the code's own frames only."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == MODULE
    ]
    places = [f"{frame.filename}, line {frame.lineno}, in {frame.name}" for frame in frames[-3:]]
    return "\n".join([*places, *"".join(traceback.format_exception_only(error)).splitlines()])[
        -1500:
    ]


def run() -> None:
    main(sys.argv[1:])
