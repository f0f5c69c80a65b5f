"""What the kernel's control groups leave this process: cores and bytes (Linux, v1 and v2).

A container's limit is not in `/proc/meminfo` or in the number of processors; who plans with those
is killed. Everything is read from files under two roots, so that tests can lay them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# v1 writes "no limit" as a huge number that depends on the page size.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Limits:
    """None where nothing is limited. `free_bytes` counts reclaimable file pages as free."""

    num_cores: float | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None


def read_limits(proc: Path = Path("/proc"), root: Path = Path("/")) -> Limits:
    """The tightest limits of this process's groups and all groups above them."""
    cores: list[float] = []
    totals: list[int] = []
    frees: list[int] = []
    for controllers, folder in _folders(proc, root):
        if "cpu" in controllers and (quota := _quota(folder)) is not None:
            cores.append(quota)
        if "memory" in controllers and (memory := _memory(folder)) is not None:
            totals.append(memory[0])
            frees.append(memory[1])
    return Limits(
        num_cores=min(cores, default=None),
        total_bytes=min(totals, default=None),
        free_bytes=min(frees, default=None),
    )


def _folders(proc: Path, root: Path) -> Iterator[tuple[frozenset[str], Path]]:
    """Each group that holds this process, from its own up to the mount, with its controllers."""
    mounts = tuple(_mounts(proc))
    for line in _text(proc / "self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, group = rest.partition(":")
        is_v2 = number == "0" and not names
        wanted = frozenset({"cpu", "memory"}) if is_v2 else frozenset(names.split(","))
        for kind, options, inside, place in mounts:
            if is_v2 != (kind == "cgroup2") or (not is_v2 and not wanted & options):
                continue
            top = root / place.lstrip("/")
            # In a container the group's path may lie outside of what is mounted here.
            below = group.removeprefix(inside) if inside != "/" else group
            folder = top / below.strip("/")
            while folder != top and top in folder.parents:
                yield wanted, folder
                folder = folder.parent
            yield wanted, top


def _mounts(proc: Path) -> Iterator[tuple[str, frozenset[str], str, str]]:
    """Mounted control groups: kind, controllers, the group that is mounted, and where."""
    for line in _text(proc / "self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, ends = before.split(), after.split()
        if len(fields) > 4 and len(ends) > 2 and ends[0] in ("cgroup", "cgroup2"):
            yield ends[0], frozenset(ends[2].split(",")), fields[3], fields[4]


def _quota(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota = _text(folder / "cpu.cfs_quota_us").strip()
        period = _text(folder / "cpu.cfs_period_us").strip()
    if not quota.isdigit() or not period.isdigit() or not int(period):
        return None
    return int(quota) / int(period) if int(quota) else None


def _memory(folder: Path) -> tuple[int, int] | None:
    """The limit and what is left of it."""
    for limit_name, usage_name, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        limit = _text(folder / limit_name).strip()
        usage = _text(folder / usage_name).strip()
        if limit.isdigit() and usage.isdigit() and int(limit) < _NO_LIMIT:
            files = _statistic(folder, f"{prefix}inactive_file", f"{prefix}active_file")
            return int(limit), max(0, min(int(limit), int(limit) - int(usage) + files))
    return None


def _statistic(folder: Path, *names: str) -> int:
    pairs = (line.partition(" ") for line in _text(folder / "memory.stat").splitlines())
    return sum(int(value) for name, _, value in pairs if name in names and value.isdigit())


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
