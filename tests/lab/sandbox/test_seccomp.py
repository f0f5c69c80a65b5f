"""The filter, read as the kernel reads it."""

from __future__ import annotations

import struct

import pytest

from codehearth.lab.sandbox.seccomp import is_known, program

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
X86, ARM = 0xC000003E, 0xC00000B7


def verdict(steps: bytes, architecture: int, number: int, first: int = 0) -> int:
    """What the kernel's machine does with one call: `struct seccomp_data` in, an action out."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, first, 0, 0, 0, 0, 0)
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("=HBBI", steps, 8 * at)
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x06:
            return value  # type: ignore[no-any-return]
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value}.get(
                code, bool(accumulator & value)
            )
            at += if_true if holds else if_false


def made(machine: str = "x86_64", *, namespaces: bool = True, own: bool = True) -> bytes:
    return program(machine, has_namespaces=namespaces, has_own_user=own, knows_signals=own)


@pytest.mark.parametrize(
    ("number", "first", "expected"),
    [
        (0, 0, ALLOW),  # read
        (59, 0, ALLOW),  # execve
        (56, 0x01200011, ALLOW),  # clone, as fork does
        (56, 0x10000011, EPERM),  # clone into a user namespace
        (435, 0, ENOSYS),  # clone3
        (101, 0, EPERM),  # ptrace
        (165, 0, EPERM),  # mount
        (425, 0, ENOSYS),  # io_uring_setup
        (41, 0, ALLOW),  # socket: the network is its own
        (302, 7, ALLOW),  # prlimit64: nobody else is seen
        (0x40000000, 0, ENOSYS),  # read by the x32 table
        (0x40000000 + 101, 0, ENOSYS),
    ],
)
def test_within_namespaces(number: int, first: int, expected: int) -> None:
    assert verdict(made(), X86, number, first) == expected


@pytest.mark.parametrize(
    ("number", "first", "expected"),
    [
        (0, 0, ALLOW),
        (41, 2, EPERM),  # socket
        (53, 1, ALLOW),  # socketpair
        (62, 1, EPERM),  # kill
        (90, 0, EPERM),  # chmod
        (302, 0, ALLOW),  # one's own limits
        (302, 7, EPERM),  # another's
        (203, 7, EPERM),  # sched_setaffinity
    ],
)
def test_without_namespaces_and_user(number: int, first: int, expected: int) -> None:
    assert verdict(made(namespaces=False, own=False), X86, number, first) == expected


def test_another_architecture_is_killed() -> None:
    """The 32-bit table has other numbers: 101 is something else there."""
    assert verdict(made(), 0x40000003, 101) == KILL
    assert verdict(made("aarch64"), X86, 0) == KILL
    assert verdict(made("aarch64"), ARM, 117) == EPERM  # ptrace
    assert verdict(made("aarch64"), ARM, 63) == ALLOW  # read


def test_an_unknown_machine_has_no_filter() -> None:
    assert is_known("x86_64") and is_known("aarch64")
    assert not is_known("riscv64")
    with pytest.raises(ValueError, match="tuple"):
        made("riscv64")
