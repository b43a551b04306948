"""What a sandboxed program sees, as the command line of bubblewrap. It only looks what there is.

The system and the running Python read-only, private scratch folders in memory, the workspace to
write to; no home folder, no passwords, no keys. Above: `sandbox_bwrap`, which runs it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tale.tasks.sandbox import Command
from tale.tasks.sandbox_process import environment, limited

__all__ = ["arrange", "python_folders"]

_USER: Final = "1000"
# Of the sandbox, in memory: not the folders of this machine that all users share.
_TMP: Final = "/tmp"  # noqa: S108 # nosec B108
_SCRATCH: Final = ("/dev/shm", _TMP, "/var/tmp")  # noqa: S108 # nosec B108

# Enough to find libraries, certificates, time zones and commands; neither passwords nor keys.
_ETC: Final = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "fonts",
    "java-*-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "pki/ca-trust",
    "pki/tls/certs",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
)
_SYSTEM: Final = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store")


def arrange(
    command: Command,
    bwrap: str,
    *,
    readable: Sequence[Path] = (),
    hidden: Sequence[Path] = (),
    data: Mapping[str, int] | None = None,
    seccomp: int | None = None,
    info: int | None = None,
    root: Path = Path("/"),
) -> tuple[str, ...]:
    """Write the command line that runs `command` shut in.

    Args:
        command: What to run; its workspace is a real path.
        bwrap: The program.
        readable: Further folders that it may read: the running Python's.
        hidden: Folders that it sees empty.
        data: Descriptors of files to put in place, by path.
        seccomp: Descriptor of the filter.
        info: Descriptor to which bubblewrap writes what it started.
        root: Where the system lies.
    """
    scratch = str(command.limits.scratch)
    argv = [bwrap, "--unshare-all", "--unshare-user", "--disable-userns"]
    argv += ["--uid", _USER, "--gid", _USER, "--hostname", "tale", "--cap-drop", "ALL"]
    argv += ["--die-with-parent", "--new-session", "--clearenv"]
    if command.network:
        argv.append("--share-net")
    argv += _system(root, network=command.network)
    for path, descriptor in (data or {}).items():
        argv += ["--ro-bind-data", str(descriptor), path]
    argv += ["--proc", "/proc", "--dev", "/dev"]
    for folder in _SCRATCH:
        argv += ["--perms", "1777", "--size", scratch, "--tmpfs", folder]
    argv += _folders(command.workspace, readable, hidden)
    # Run by root, a program owns the kernel's settings, which lie in no namespace.
    argv += ["--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/"]
    for name, value in environment(_TMP, _TMP, command.workspace).items():
        argv += ["--setenv", name, value]
    if seccomp is not None:
        argv += ["--seccomp", str(seccomp)]
    if info is not None:
        argv += ["--info-fd", str(info)]
    argv += ["--chdir", str(command.workspace), "--"]
    return (*argv, *limited(command.argv, command.limits, command.seconds))


def _system(root: Path, *, network: bool) -> list[str]:
    argv: list[str] = []
    for name in _SYSTEM:
        path = root / name
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.exists():
            argv += ["--ro-bind", str(path), f"/{name}"]
    net = ("hosts", "resolv.conf", "nsswitch.conf", "host.conf", "gai.conf") if network else ()
    etc = root / "etc"
    for path in (found for name in (*_ETC, *net) for found in sorted(etc.glob(name))):
        if path.exists():
            argv += ["--ro-bind", str(path.resolve()), f"/{path.relative_to(root)}"]
    return argv


def _folders(workspace: Path, readable: Sequence[Path], hidden: Sequence[Path]) -> list[str]:
    """Mount the outer before the inner, or the outer would cover it."""
    mounts = [(workspace, "--bind")]
    mounts += [(path, "--ro-bind") for path in readable if not _below(path, [Path("/usr")])]
    # Hooks and settings of a repository run outside of here when the user next calls git.
    git = workspace / ".git"
    if git.exists() and not git.is_symlink():
        mounts.append((git, "--ro-bind"))
    shown = [path for path, _ in mounts]
    mounts += [
        (path, "--tmpfs")
        for path in hidden
        if _below(path, shown) and not _below(workspace, [path])
    ]
    argv: list[str] = []
    for path, option in sorted(mounts, key=lambda mount: len(mount[0].parts)):
        argv += [option, *[str(path)] * (1 if option == "--tmpfs" else 2)]
    return argv


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


@functools.cache
def python_folders() -> tuple[Path, ...]:
    """Give the folders of the running Python, which tasks run too: its own and its environment's.

    One that is the home folder or above it is left out: it holds more than a Python.
    """
    home = Path.home()
    links = {Path(os.path.realpath(prefix)) for prefix in (sys.prefix, sys.base_prefix)}
    named = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix)} | links
    return tuple(sorted(path for path in named if not _below(home, [path])))
