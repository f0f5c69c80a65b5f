"""This machine is described as a process may really use it: affinity, quotas, limits, GPUs."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from pathlib import Path

import psutil
import pytest

from codehearth.models.cgroups import Limits, read_limits
from codehearth.models.gpus import cuda_gpus, is_visible, metal_gpus, metal_limit_bytes, sysctl
from codehearth.models.hardware import num_physical_cores, snapshot

GIB = 1 << 30
V2_MOUNT = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux has control groups")


class Machine:
    """Folders that look like a Linux machine's /proc and /sys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)

    def write(self, path: str, content: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(content)

    def limits(self) -> Limits:
        return read_limits(self.root / "proc", self.root)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_snapshot_is_of_this_machine() -> None:
    hardware = snapshot()

    assert hardware.system == platform.system()
    assert hardware.machine == platform.machine()
    assert 0 < hardware.num_cores <= (os.cpu_count() or 1)
    assert 1 <= hardware.num_physical_cores <= (os.cpu_count() or 1)
    assert 0 < hardware.total_bytes <= psutil.virtual_memory().total
    assert 0 <= hardware.free_bytes <= hardware.total_bytes
    assert json.dumps(dataclasses.asdict(hardware))


@on_linux
def test_cores_that_affinity_takes_away_are_not_counted() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})

        hardware = snapshot()
    finally:
        os.sched_setaffinity(0, before)

    assert hardware.num_cores <= 1
    assert hardware.num_physical_cores == 1


def test_a_machine_without_control_groups_has_no_limits(machine: Machine) -> None:
    assert machine.limits() == Limits()


def test_a_container_of_the_second_version_is_limited(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("proc/self/mountinfo", V2_MOUNT)
    machine.write("sys/fs/cgroup/cpu.max", "150000 100000\n")
    machine.write("sys/fs/cgroup/memory.max", str(4 * GIB))
    machine.write("sys/fs/cgroup/memory.current", str(3 * GIB))
    machine.write("sys/fs/cgroup/memory.stat", f"anon 5\ninactive_file {GIB}\nactive_file {GIB}\n")

    assert machine.limits() == Limits(num_cores=1.5, total_bytes=4 * GIB, free_bytes=3 * GIB)


def test_no_limit_is_no_limit(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("proc/self/mountinfo", V2_MOUNT)
    machine.write("sys/fs/cgroup/cpu.max", "max 100000\n")
    machine.write("sys/fs/cgroup/memory.max", "max\n")
    machine.write("sys/fs/cgroup/memory.current", "5\n")

    assert machine.limits() == Limits()


def test_the_tightest_of_all_groups_above_counts(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/user.slice/session\n")
    machine.write("proc/self/mountinfo", V2_MOUNT)
    machine.write("sys/fs/cgroup/user.slice/session/cpu.max", "400000 100000")
    machine.write("sys/fs/cgroup/user.slice/cpu.max", "200000 100000")
    machine.write("sys/fs/cgroup/user.slice/memory.max", str(2 * GIB))
    machine.write("sys/fs/cgroup/user.slice/memory.current", str(GIB))
    machine.write("sys/fs/cgroup/user.slice/session/memory.max", str(8 * GIB))
    machine.write("sys/fs/cgroup/user.slice/session/memory.current", "0")

    assert machine.limits() == Limits(num_cores=2.0, total_bytes=2 * GIB, free_bytes=GIB)


def test_a_container_of_the_first_version_is_limited(machine: Machine) -> None:
    machine.write(
        "proc/self/cgroup", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n"
    )
    machine.write(
        "proc/self/mountinfo",
        "31 25 0:27 /docker/abc /sys/fs/cgroup/memory ro shared:9 - cgroup cgroup rw,memory\n"
        "32 25 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
    )
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", str(GIB))
    machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", str(GIB // 2))
    machine.write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 1024\ninactive_file 7\n")

    expected = Limits(num_cores=0.5, total_bytes=GIB, free_bytes=GIB // 2 + 1024)
    assert machine.limits() == expected


def test_the_first_versions_huge_number_is_no_limit(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "4:memory:/\n2:cpu:/\n")
    machine.write(
        "proc/self/mountinfo",
        "31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "32 25 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
    )
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1\n")

    assert machine.limits() == Limits()


def test_nonsense_in_control_groups_is_passed_over(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/../../x\nnonsense\n\x00\n4:memory:\n")
    machine.write("proc/self/mountinfo", "nonsense\n - cgroup2\n" + V2_MOUNT)
    machine.write("sys/fs/cgroup/cpu.max", "many few\n")
    machine.write("sys/fs/cgroup/memory.max", "-1\n")
    machine.write("sys/fs/cgroup/memory.stat", "inactive_file\n\n=\n")

    assert machine.limits() == Limits()


@on_linux
def test_two_threads_of_one_core_are_one_core(tmp_path: Path) -> None:
    for processor, core in enumerate(("0", "1", "0", "1")):
        topology = tmp_path / f"cpu{processor}" / "topology"
        topology.mkdir(parents=True)
        (topology / "core_id").write_text(core)
        (topology / "physical_package_id").write_text("0")

    assert num_physical_cores(frozenset({0, 1, 2, 3}), tmp_path) == 2
    assert num_physical_cores(frozenset({0, 2}), tmp_path) == 1
    assert num_physical_cores(frozenset({0, 9}), tmp_path) == 2  # unknown: as many as threads


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("1", [1]),
        ("2, 0", [0, 2]),
        ("0,-1,1", [0]),
        ("GPU-b", [1]),
        ("nonsense", []),
    ],
)
def test_gpus_are_hidden_as_cuda_hides_them(visible: str | None, seen: list[int]) -> None:
    uuids = ("GPU-a1", "GPU-b2", "GPU-c3")

    assert [n for n, uuid in enumerate(uuids) if is_visible(n, uuid, visible)] == seen


def test_a_machine_without_a_driver_has_no_gpus() -> None:
    assert isinstance(cuda_gpus(), tuple)
    assert cuda_gpus(visible="") == ()


@pytest.mark.gpu
def test_what_other_processes_hold_on_a_gpu_is_not_free() -> None:
    """On a GPU this shows that free bytes come from the driver and not from our own counting."""
    gpus = cuda_gpus()
    if not gpus:
        pytest.skip("no GPU here")

    assert all(0 <= gpu.free_bytes < gpu.total_bytes for gpu in gpus)


def test_unified_memory_is_shared_out_as_metal_does() -> None:
    assert metal_limit_bytes(16 * GIB, 0) == pytest.approx(10.67 * GIB, rel=0.01)
    assert metal_limit_bytes(64 * GIB, 0) == 48 * GIB
    assert metal_limit_bytes(16 * GIB, 14 * GIB) == 14 * GIB
    assert metal_limit_bytes(16 * GIB, 99 * GIB) == 16 * GIB


@pytest.mark.skipif(platform.system() == "Darwin", reason="shows what is so elsewhere")
def test_elsewhere_than_on_apple_silicon_there_is_no_metal() -> None:
    assert metal_gpus(16 * GIB, 8 * GIB) == ()
    assert sysctl("hearth.no.such.name") == ""
