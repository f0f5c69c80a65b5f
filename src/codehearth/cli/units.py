"""What tells systemd and launchd to keep a server running; pure: settings in, a file's text out."""

from __future__ import annotations

import plistlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LABEL = "ai.codehearth.hearth"
UNIT = "hearth.service"


def systemd_unit(argv: Sequence[str], variables: Mapping[str, str]) -> str:
    """A unit of the user's own manager.

    `Restart=on-failure` and not `always`: `hearth stop --server` is meant to end it. The start
    limit keeps a server that cannot start from trying for ever. What the engines' children need
    (a GPU's device files, the hub's caches) forbids most sandboxing options; the rest is there.
    """
    command = " ".join(_quoted(word.replace("$", "$$")) for word in argv)
    environment = "\n".join(
        f"Environment={_quoted(f'{name}={value}')}" for name, value in variables.items()
    )
    return f"""\
# Written by `hearth service install`; `hearth service remove` takes it away.
[Unit]
Description=CodeHearth, code models on this machine
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=exec
ExecStart={command}
{environment}
Restart=on-failure
RestartSec=5
# Answers that are under way may end; see the setting `drain`.
TimeoutStopSec=60
KillMode=mixed
LimitNOFILE=65536
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def launchd_plist(argv: Sequence[str], variables: Mapping[str, str], *, log: Path) -> str:
    """An agent of the user on macOS."""
    agent: dict[str, Any] = {
        "Label": LABEL,
        "ProgramArguments": list(argv),
        "EnvironmentVariables": dict(variables),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": 60,
        "Umask": 0o077,
        "StandardErrorPath": str(log),
        "StandardOutPath": str(log),
    }
    return plistlib.dumps(agent, sort_keys=False).decode()


def _quoted(word: str) -> str:
    """A word as systemd reads it: `%` means nothing, and spaces do not split it."""
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return safe if re.fullmatch(r"[A-Za-z0-9_./:=@,+%$-]+", safe) else f'"{safe}"'
