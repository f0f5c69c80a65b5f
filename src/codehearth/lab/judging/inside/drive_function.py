"""Calls one function with each case's arguments and writes what it returned to descriptor 3.

What is right is not here: whoever asked compares. One JSON a line.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any


def run() -> None:
    sys.set_int_max_str_digits(0)  # a factorial is a plain value, too
    order = json.loads(sys.stdin.read())
    names: dict[str, Any] = {"__name__": "solution"}
    try:
        exec(compile(order["code"], "solution", "exec"), names)
        function = names[order["function"]]
    except SyntaxError as error:
        return _tell({"failed": "syntax", "detail": f"{error}"})
    except KeyError:
        return _tell({"failed": "wrong", "detail": f"there is no {order['function']}"})
    except MemoryError as error:
        return _tell({"failed": "memory", "detail": repr(error)})
    except BaseException as error:
        kind = "exit" if isinstance(error, SystemExit) else "exception"
        return _tell({"failed": kind, "detail": _told(error)})
    for arguments in order["arguments"]:
        try:
            _tell({"value": function(*arguments)})
        except BaseException as error:
            _tell({"raised": _told(error)})
    return None


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()[-500:]


def _tell(document: dict[str, Any]) -> None:
    line = json.dumps(document).encode() + b"\n"
    while line:
        line = line[os.write(3, line) :]
