"""The filter of system calls, as the kernel's small machine reads it; pure.

An allow-list would have to know every runtime's every call; this forbids what a test program has
no business with, and the namespaces or Landlock below do the rest. An unknown architecture has no
filter, and so no sandbox.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

# <linux/audit.h>; the number of each call on the architecture, <asm/unistd.h>.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
_X32_BIT = 0x40000000
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, <linux/sched.h>.
_NEW_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x60000000

_EPERM, _ENOSYS = 1, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06

# Name: (x86_64, aarch64); None where the architecture has no such call.
_FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41),
    "mount": (165, 40), "umount2": (166, 39), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "mknod": (133, None), "mknodat": (259, 33),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "syslog": (103, 116), "vhangup": (153, 58), "iopl": (172, None),
    "ioperm": (173, None), "personality": (135, 92), "lookup_dcookie": (212, 18),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    # Memory that no limit of a process counts.
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
}  # fmt: skip

# Programs fall back to the older call where these do not exist; clone3's flags cannot be looked at.
_MISSING: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}  # fmt: skip

# What only a network of its own holds back otherwise.
_SOCKETS: dict[str, tuple[int | None, int | None]] = {"socket": (41, 198)}

# Changes that Landlock does not look at, of files that belong to whoever runs this.
_OWNERSHIP: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None),
    "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "setxattrat": (463, 463), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}  # fmt: skip

# What one process may do to another of the same user, and Landlock does not look at.
_OTHERS: dict[str, tuple[int | None, int | None]] = {
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip
_PRLIMIT = {"x86_64": 302, "aarch64": 261}

# Where Landlock cannot tell whose process a signal is for (before its ABI 6).
_SIGNALS: dict[str, tuple[int | None, int | None]] = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
}  # fmt: skip


def is_known(machine: str) -> bool:
    """Whether there is a filter for this architecture (`platform.machine()`)."""
    return machine in _ARCHITECTURES


def program(
    machine: str, *, has_namespaces: bool, has_own_user: bool, knows_signals: bool
) -> bytes:
    """The filter as an array of `struct sock_filter`; raises ValueError for an unknown machine.

    What the other walls do not hold is forbidden here: sockets without namespaces, changes of
    files' modes without a user of its own either, signals where nothing else looks at them.
    """
    column = tuple(_ARCHITECTURES).index(machine)
    tables = [_FORBIDDEN]
    if not has_namespaces:
        tables.append(_SOCKETS)
        if not has_own_user:
            tables += [_OWNERSHIP, _OTHERS]
        if not knows_signals:
            tables.append(_SIGNALS)
    steps = [
        (_LOAD, 0, 0, 4),  # the architecture of the call
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # its number
    ]
    if machine == "x86_64":
        steps += [(_JUMP_GREATER, 0, 1, _X32_BIT), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    for table in tables:
        steps += _refused((row[column] for row in table.values()), _EPERM)
    steps += _refused((row[column] for row in _MISSING.values()), _ENOSYS)
    if not has_namespaces and not has_own_user:
        steps += [
            (_JUMP_EQUAL, 0, 4, _PRLIMIT[machine]),
            (_LOAD, 0, 0, 16),  # whose limits: 0 is one's own
            (_JUMP_EQUAL, 1, 0, 0),
            (_RETURN, 0, 0, _ERRNO | _EPERM),
            (_RETURN, 0, 0, _ALLOW),
        ]
    steps += [
        (_JUMP_EQUAL, 0, 3, _CLONE[machine]),
        (_LOAD, 0, 0, 16),  # its flags: the first argument's lower half
        (_JUMP_SET, 0, 1, _NEW_NAMESPACES),
        (_RETURN, 0, 0, _ERRNO | _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _refused(numbers: Iterable[int | None], errno: int) -> list[tuple[int, int, int, int]]:
    steps = []
    for number in numbers:
        if number is not None:
            steps += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | errno)]
    return steps
