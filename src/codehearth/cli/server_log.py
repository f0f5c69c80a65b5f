"""Where a server's log goes: to standard error, and to `logs/server.log` in the data folder.

Neither a full disk nor a closed terminal may stop the server, so what cannot be logged is dropped.
Levels: ours as the settings say, libraries only from "warning" up.
"""

from __future__ import annotations

import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path

from codehearth.cli.output import tell_warning
from codehearth.settings import Settings

_MAX_BYTES = 5 * 2**20
_NUM_OLD_FILES = 3


def begin_log(settings: Settings) -> None:
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    logging.getLogger("codehearth").setLevel(settings.log_level.upper())
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root.addHandler(terminal)
    try:
        root.addHandler(_file_handler(settings.data / "logs" / "server.log"))
    except OSError as error:
        tell_warning(f"there will be no server.log: {error.strerror or error}")


def _file_handler(path: Path) -> logging.Handler:
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    handler = RotatingFileHandler(
        path, maxBytes=_MAX_BYTES, backupCount=_NUM_OLD_FILES, encoding="utf-8", errors="replace"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    return handler
