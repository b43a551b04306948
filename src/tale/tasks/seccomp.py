"""A filter of system calls for sandboxed programs: a classic BPF program, packed by hand. Pure.

It takes away what no build or test needs and what has broken namespaces before: tracing, mounting,
new namespaces, kernel keys, BPF, io_uring, fake terminal input, and the sockets that no network
namespace holds back. Everything else stays allowed; namespaces and mounts do the real work. Above:
`sandbox_bwrap`. Numbers: the kernel's `unistd_64.h` (x86_64) and `asm-generic/unistd.h` (aarch64);
instructions: linux/filter.h, actions: linux/seccomp.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["filter_for"]

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_EPERM: Final = 0x00050000 | 1
_ENOSYS: Final = 0x00050000 | 38
_EAFNOSUPPORT: Final = 0x00050000 | 97

# Offsets in struct seccomp_data; the lower half of an argument on little-endian machines.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST: Final = 16
_SECOND: Final = 24

_X32: Final = 0x40000000  # system calls of the x32 ABI: the same calls under other numbers
# CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_NAMESPACES: Final = 0x7E020080
_TERMINAL_INPUT: Final = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
# AF_ALG, AF_VSOCK, AF_XDP; a network namespace doesn't hold back the second.
_FAMILIES: Final = (38, 40, 44)


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    forbidden: tuple[int, ...]
    clone: int
    socket: int
    socketpair: int
    ioctl: int
    x32: bool = False


# The same on every machine: numbers from 424 on are shared.
_SHARED: Final = (
    *(425, 426, 427),  # io_uring: calls that no filter sees
    *(428, 429, 430, 431, 432, 433, 442),  # the new mount calls
    438,  # pidfd_getfd
    *(440, 448),  # process_madvise, process_mrelease
)
_CLONE3: Final = 435
_MACHINES: Final = {
    "x86_64": _Machine(
        audit=0xC000003E,
        forbidden=(
            *(101, 310, 311, 312),  # ptrace, process_vm_readv, process_vm_writev, kcmp
            *(165, 166, 155, 161),  # mount, umount2, pivot_root, chroot
            *(272, 308),  # unshare, setns
            *(248, 249, 250),  # add_key, request_key, keyctl
            *(321, 298, 323),  # bpf, perf_event_open, userfaultfd
            *(175, 176, 313, 246, 320, 169),  # modules, kexec, reboot
            *(167, 168, 163, 179),  # swap, acct, quotactl
            *(303, 304),  # name_to_handle_at, open_by_handle_at
            *(164, 227, 159, 305, 170, 171),  # clocks, host and domain name
            *(103, 172, 173, 153, 135),  # syslog, iopl, ioperm, vhangup, personality
            *(256, 279),  # migrate_pages, move_pages
        ),
        clone=56,
        socket=41,
        socketpair=53,
        ioctl=16,
        x32=True,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        forbidden=(
            *(117, 270, 271, 272),
            *(40, 39, 41, 51),
            *(97, 268),
            *(217, 218, 219),
            *(280, 241, 282),
            *(105, 106, 273, 104, 294, 142),
            *(224, 225, 89, 60),
            *(264, 265),
            *(170, 112, 171, 266, 161, 162),
            *(116, 58, 92),
            *(238, 239),
        ),
        clone=220,
        socket=198,
        socketpair=199,
        ioctl=29,
    ),
}


def filter_for(machine: str) -> bytes | None:
    """Make the filter for a machine as `platform.machine()` calls it; None if it isn't known."""
    if (known := _MACHINES.get(machine)) is None:
        return None
    return b"".join(struct.pack("=HBBI", *one) for one in _program(known))


_Instruction = tuple[int, int, int, int]


def _program(machine: _Machine) -> list[_Instruction]:
    """Write the instructions; every test stands alone, so that no jump goes far."""
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine.x32:
        program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ENOSYS)]
    # glibc takes clone where clone3 isn't there; the flags of clone3 are out of a filter's sight.
    program += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ENOSYS)]
    for number in (*machine.forbidden, *_SHARED):
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    program += _argument(machine.clone, _FIRST, _ANY_BIT, (_NAMESPACES,), _EPERM)
    program += _argument(machine.ioctl, _SECOND, _EQUAL, _TERMINAL_INPUT, _EPERM)
    for number in (machine.socket, machine.socketpair):
        program += _argument(number, _FIRST, _EQUAL, _FAMILIES, _EAFNOSUPPORT)
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def _argument(
    number: int, offset: int, test: int, values: Sequence[int], action: int
) -> list[_Instruction]:
    """Refuse one call where an argument is one of `values`."""
    tests: list[_Instruction] = []
    for value in values:
        tests += [(test, 0, 1, value), (_RETURN, 0, 0, action)]
    body = [(_LOAD, 0, 0, offset), *tests, (_LOAD, 0, 0, _NUMBER)]
    return [(_EQUAL, 0, len(body), number), *body]
