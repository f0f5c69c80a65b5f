"""Which protection works here: found by running a small program in each.

Containers often forbid what bubblewrap needs, kernels are built without Landlock: only a try tells.
"""

from __future__ import annotations

import platform
import shutil
import sys
import threading
from dataclasses import dataclass
from functools import cache

from codehearth.errors import Unsupported
from codehearth.lab.sandbox import seccomp
from codehearth.lab.sandbox.interpreters import python_for
from codehearth.lab.sandbox.program import Limits, Program, Protection
from codehearth.lab.sandbox.running import run

_INSTALL = "`apt install bubblewrap` (or your system's package of that name) gives a sandbox"
_WORKS = "it works"


@dataclass(frozen=True)
class Protections:
    """`best` is what is used, None where nothing works; `reasons` say why another is not."""

    best: Protection | None
    reasons: tuple[tuple[str, str], ...]

    def summary(self) -> str:
        refused = "; ".join(f"{name}: {reason}" for name, reason in self.reasons)
        if self.best is None:
            return refused
        return f"{self.best} ({refused})" if refused else self.best


_lock = threading.Lock()


def protections() -> Protections:
    """What can be had here; tried once in the life of this process (some 0.1 s)."""
    with _lock:
        return _found()


@cache
def _found() -> Protections:
    reasons: list[tuple[str, str]] = []
    if reason := why_not_bubblewrap():
        reasons.append(("bubblewrap", reason))
        if reason := why_not_landlock():
            reasons.append(("landlock", reason))
            return Protections(None, tuple(reasons))
        return Protections("landlock", tuple(reasons))
    return Protections("bubblewrap", ())


def require_protection(*, is_unprotected: bool = False) -> Protection:
    """The best there is; "none" where that is asked for. Raises Unsupported."""
    if is_unprotected:
        return "none"
    found = protections()
    if found.best is None:
        raise Unsupported(
            f"Code cannot be run here in a sandbox ({found.summary()}).", hint=_INSTALL
        )
    return found.best


def why_not_bubblewrap() -> str | None:
    """None where bubblewrap holds on this machine, or else why not."""
    if shutil.which("bwrap") is None:
        return "not installed"
    return _why_not("bubblewrap")


def why_not_landlock() -> str | None:
    """None where Landlock holds on this machine, or else why not."""
    return _why_not("landlock")


def _why_not(protection: Protection) -> str | None:
    if sys.platform != "linux":
        return "needs Linux"
    if not seccomp.is_known(platform.machine()):
        return f"no filter for {platform.machine()}"
    if python_for(protection) is None:
        return "no Python that another user may start"
    argv = (str(python_for(protection)), "-I", "-S", "-c", f"print({_WORKS!r})")
    try:
        outcome = run(Program(argv), Limits(time_s=20.0), protection)
    except OSError as error:  # root of a container that has no other user
        return f"cannot begin: {error.strerror or error}"
    if outcome.exit_code == 0 and outcome.stdout.strip() == _WORKS:
        return None
    lines = outcome.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"a small program ended with {outcome.exit_code}"
