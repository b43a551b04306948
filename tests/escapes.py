"""Attempts to get out of a sandbox, and a host whose valuables they try to reach.

Each attempt is a Python program that is told where the valuables are (`H`) and prints `ESCAPED` if
it got something; what shows only on the host is looked at there. `plain` ones do no harm without a
sandbox either: run so, they must succeed, or they would prove nothing. Used by the integration
tests and by `benchmarks.sandbox`.
"""

# ruff: noqa: E501 - programs that are one line each

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tale.tasks.sandbox import Command, Limits, Ran

MIB = 1024 * 1024
SECRET = "s3cret-of-the-host"

_PRELUDE = """
import ctypes, errno, glob, json, os, signal, socket, struct, subprocess, sys, time
H = json.load(sys.stdin)
libc = ctypes.CDLL(None, use_errno=True)
def escaped(why="yes"): print("ESCAPED", why, flush=True)
def reads(path):
    try: data = open(path, "rb").read(4096)
    except OSError as error: return print(path, error)
    if data: escaped(path)
def writes(path):
    try: open(path, "ab").close()
    except OSError as error: return print(path, error)
    escaped(path)
def call(*args):
    if libc.syscall(*args) >= 0: escaped("syscall %s" % (args[0],))
    else: print(args[0], os.strerror(ctypes.get_errno()))
"""


@dataclass(frozen=True, slots=True)
class Host:
    """What is outside, for attempts to reach and for us to look at afterwards."""

    folder: Path
    workspace: Path
    facts: dict[str, object]
    victim: subprocess.Popen[bytes]
    received: Callable[[], bytes]


def processes(mark: str) -> int:
    """Count processes of this machine whose command line holds `mark`."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += mark.encode() in path.read_bytes()
    return found


Verdict = Callable[[Host, Ran], str]


def _nothing(host: Host, ran: Ran) -> str:
    del host, ran
    return ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way out.

    Attributes:
        code: The program.
        plain: It does no harm outside of a sandbox, and succeeds there.
        verdict: Says what shows on the host; empty if nothing.
        limits: What it may take.
    """

    name: str
    code: str
    plain: bool = False
    verdict: Verdict = _nothing
    seconds: float = 10.0
    limits: Limits = field(default_factory=Limits)

    def command(self, host: Host) -> Command:
        """Give the command that makes the attempt."""
        code = f"{_PRELUDE}\n{self.code}"
        stdin = json.dumps(host.facts).encode()
        argv = (sys.executable, "-c", code, f"attempt-{self.name.replace(' ', '-')}")
        return Command(argv, host.workspace, self.seconds, self.limits, stdin=stdin)

    def escaped(self, host: Host, ran: Ran) -> str:
        """Say how it got out; empty if it was stopped."""
        for line in ran.output.splitlines():
            if line.startswith("ESCAPED"):
                return line
        return self.verdict(host, ran)


@contextmanager
def open_host(folder: Path) -> Generator[Host]:
    """Set up valuables in a folder: files, sockets, a process, a secret in the environment."""
    folder = folder.resolve()
    workspace, outside = folder / "workspace", folder / "outside"
    workspace.mkdir()
    for name in (".ssh/id_ed25519", "tale/token"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_text(SECRET)
    (workspace / ".git" / "hooks").mkdir(parents=True)
    os.environ["TALE_ESCAPE_SECRET"] = SECRET
    victim = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", "victim-of-escapes"]
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.setblocking(False)
        name = f"tale-escape-{os.getpid()}"
        named.bind(str(folder / "s"))
        named.listen()
        abstract.bind(f"\0{name}")
        abstract.listen()

        def received() -> bytes:
            with suppress(BlockingIOError):
                return udp.recv(100)
            return b""

        facts: dict[str, object] = {
            "home": str(Path.home()),
            "key": str(outside / ".ssh/id_ed25519"),
            "token": str(outside / "tale/token"),
            "outside": str(outside),
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "unix": str(folder / "s"),
            "abstract": name,
            "victim": victim.pid,
            "us": os.getpid(),
            "prefix": sys.prefix,
        }
        try:
            yield Host(folder, workspace, facts, victim, received)
        finally:
            victim.kill()
            victim.wait()
            del os.environ["TALE_ESCAPE_SECRET"]


def _victim_lives(host: Host, ran: Ran) -> str:
    del ran
    return "" if host.victim.poll() is None else "the victim was killed"


def _nothing_received(host: Host, ran: Ran) -> str:
    del ran
    return "a datagram came" if host.received() else ""


def _key_unchanged(host: Host, ran: Ran) -> str:
    del ran
    key = Path(str(host.facts["key"]))
    changed = key.read_text() != SECRET or key.stat().st_nlink != 1
    return "the file outside was changed" if changed else ""


def _only_known(host: Host, ran: Ran) -> str:
    del ran
    found = {path.name for path in host.folder.iterdir()} - {"workspace", "outside", "s", "spill"}
    return f"wrote {found}" if found else ""


def _within_disk(host: Host, ran: Ran) -> str:
    files = [path for path in host.workspace.rglob("*") if path.is_file()]
    took = sum(path.lstat().st_blocks * 512 for path in files)
    for path in files:
        path.unlink()
    if took > 1024 * MIB:
        return f"wrote {took // MIB} MiB"
    return "" if ran.stopped == "disk" else "was not stopped"


def _stopped(host: Host, ran: Ran) -> str:
    del host
    left = processes("attempt-")
    if left:
        return f"{left} processes are left"
    return "" if ran.stopped or not ran.ok else "was not stopped"


def _gone(host: Host, ran: Ran) -> str:
    del host, ran
    left = processes("attempt-")
    return f"{left} processes are left" if left else ""


def _bounded(host: Host, ran: Ran) -> str:
    del host
    if len(ran.output) > 64 * 1024:
        return f"{len(ran.output)} characters are in memory"
    return "" if ran.stopped == "output" else "was not stopped"


_SMALL = Limits(
    memory=192 * MIB,
    file=64 * MIB,
    disk=128 * MIB,
    scratch=16 * MIB,
    processes=40,
    overflow=8 * MIB,
)

ATTEMPTS: tuple[Attempt, ...] = (
    # -- files
    Attempt("read an ssh key", "reads(H['key'])", plain=True),
    Attempt("list the home folder", "os.listdir(H['home'] + '/.ssh'); escaped()"),
    Attempt("read the password hashes", "reads('/etc/shadow'); reads('/etc/gshadow')"),
    Attempt("read the token of tale", "reads(H['token'])", plain=True),
    Attempt(
        "read through the root of another",
        "[reads(f'/proc/{n}/root/etc/shadow') for n in (1, 2, H['us'])]",
    ),
    Attempt(
        "write with ..",
        "for path in ('../written', '../outside/written'):\n try: open(path, 'a').close()\n except OSError: pass",
        verdict=_only_known,
    ),
    Attempt(
        "write through a link",
        "os.symlink(H['key'], 'link'); writes('link'); reads('link')",
        plain=True,
        verdict=_key_unchanged,
    ),
    Attempt(
        "hard link from outside", "os.link(H['key'], 'hard'); escaped()", verdict=_key_unchanged
    ),
    Attempt(
        "hard link to outside",
        "open('mine', 'w').close(); os.link('mine', '../mine'); escaped()",
        verdict=_only_known,
    ),
    Attempt(
        "write to the system",
        "[writes(p) for p in ('/usr/bin/tale-x', '/etc/tale-x', '/bin/tale-x', '/tale-x', '/etc/passwd', '/dev/tale-x')]",
    ),
    Attempt(
        "write to the running Python",
        "writes(H['prefix'] + '/tale-x'); [writes(p + '/tale-x') for p in sys.path if p and os.path.isdir(p)]",
    ),
    Attempt("plant a git hook", "writes('.git/hooks/post-checkout')"),
    Attempt(
        "open by handle",
        "call(303, -100, b'/', b'\\x80\\0\\0\\0' + b'\\0' * 200, b'\\0' * 8, 0); call(304, 0, b'\\0' * 200, 0)",
    ),
    Attempt(
        "watch the host's files",
        "libc.inotify_init(); n = libc.inotify_init(); libc.inotify_add_watch(n, H['outside'].encode(), 0xfff) >= 0 and escaped()",
        plain=True,
    ),
    Attempt(
        "files left open",
        "[reads(f'/proc/self/fd/{n}') or escaped(n) for n in map(int, os.listdir('/proc/self/fd')) if n > 2 and os.path.exists(f'/proc/self/fd/{n}') and os.readlink(f'/proc/self/fd/{n}').startswith('/') and not os.readlink(f'/proc/self/fd/{n}').startswith('/proc')]",
    ),
    # -- secrets in the environment
    Attempt("read the environment", "'TALE_ESCAPE_SECRET' in os.environ and escaped()"),
    Attempt(
        "read the environment of another",
        f"any(b'{SECRET}' in open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/environ') if os.access(p, os.R_OK)) and escaped()",
    ),
    # -- the network
    Attempt(
        "tcp to the host",
        "socket.create_connection(('127.0.0.1', H['tcp']), 2); escaped()",
        plain=True,
    ),
    Attempt(
        "udp to the host",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'hi', ('127.0.0.1', H['udp']))",
        plain=True,
        verdict=_nothing_received,
    ),
    Attempt(
        "the network outside",
        "[n for _, n in socket.if_nameindex() if n != 'lo'] and escaped(); socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 9)); escaped()",
    ),
    Attempt(
        "unix socket of the host",
        "socket.socket(socket.AF_UNIX).connect(H['unix']); escaped()",
        plain=True,
    ),
    Attempt(
        "abstract socket of the host",
        "socket.socket(socket.AF_UNIX).connect('\\0' + H['abstract']); escaped()",
        plain=True,
    ),
    Attempt("socket to the hypervisor", "socket.socket(40, socket.SOCK_STREAM); escaped()"),
    Attempt("raw packets", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW); escaped()"),
    # -- other processes
    Attempt(
        "see other processes",
        "any(b'victim-' b'of-escapes' in open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/cmdline')) and escaped()",
        plain=True,
    ),
    Attempt(
        "trace another process",
        "libc.ptrace(0x4206, H['victim'], 0, 0) == 0 and escaped(); call(310, H['us'], 0, 0, 0, 0, 0); libc.ptrace(0, 0, 0, 0) == 0 and escaped('traced')",
    ),
    Attempt("kill a process", "os.kill(H['victim'], 9)", verdict=_victim_lives),
    Attempt("kill every process", "os.kill(-1, 9)", verdict=_victim_lives),
    Attempt(
        "stay as a daemon",
        "os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); [os.close(n) for n in (0, 1, 2)]; time.sleep(300)",
        verdict=_gone,
    ),
    Attempt(
        "go on after the end of time",
        "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]; os.setpgid(0, 0); time.sleep(300)",
        seconds=0.5,
        verdict=_stopped,
    ),
    # -- the kernel
    Attempt(
        "devices",
        "[reads(p) for p in ('/dev/mem', '/dev/kmsg', '/dev/kvm', '/dev/sda', '/dev/vda', '/dev/nvme0n1', '/proc/kcore', '/proc/kmsg')]",
    ),
    Attempt("make a device node", "os.mknod('node', 0o60600, os.makedev(254, 0)); escaped()"),
    Attempt(
        "mount",
        "libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0) == 0 and escaped(); libc.mount(b'/proc', b'/tmp', 0, 4096, 0) == 0 and escaped(); call(430, b'tmpfs', 0); call(166, b'/proc', 2)",
    ),
    Attempt("change the root", "os.chroot('/tmp'); escaped()"),
    Attempt(
        "new namespaces",
        "[libc.unshare(f) == 0 and escaped(hex(f)) for f in (0x10000000, 0x20000, 0x40000000)]; subprocess.run(['unshare', '-Ur', 'true']).returncode == 0 and escaped()",
    ),
    Attempt(
        "become root",
        "import shutil; shutil.copy('/usr/bin/id', 'id'); os.chmod('id', 0o4755); out = subprocess.run(['./id', '-u'], capture_output=True, text=True).stdout.strip(); out == '0' and escaped()\n"
        "try: os.setuid(0); escaped('setuid')\nexcept OSError: pass\n"
        "any(l.startswith('CapBnd') and int(l.split()[1], 16) for l in open('/proc/self/status')) and escaped('capabilities')",
    ),
    Attempt(
        "kernel settings",
        "[writes(p) for p in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/vm/overcommit_memory', '/sys/kernel/uevent_helper', '/sys/power/state', '/proc/sys/kernel/hostname')]; os.path.exists('/sys/kernel') and escaped('/sys')",
    ),
    Attempt(
        "keys, bpf, faults, io_uring",
        "call(250, 0, -3, 1); call(248, b'user', b'k', b'v', 1, -3); call(321, 0, b'\\0' * 64, 64); call(323, 1); call(425, 4, b'\\0' * 120); call(298, b'\\0' * 112, 0, -1, -1, 0)",
    ),
    Attempt(
        "type into the terminal",
        "import fcntl, pty\nm, s = pty.openpty()\ntry: fcntl.ioctl(s, 0x5412, b'x'); escaped()\nexcept OSError as e: print(e)\ntry: os.open('/dev/tty', os.O_RDWR); escaped('/dev/tty')\nexcept OSError as e: print(e)",
    ),
    Attempt(
        "raise the limits",
        "import resource\nfor n in (resource.RLIMIT_FSIZE, resource.RLIMIT_DATA, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):\n try: resource.setrlimit(n, (resource.getrlimit(n)[1] * 2,) * 2); escaped(n)\n except (OSError, ValueError): pass",
    ),
    # -- too much of everything
    Attempt(
        "fork bomb",
        "while True:\n try: os.fork()\n except OSError: pass",
        verdict=_stopped,
        seconds=5,
        limits=_SMALL,
    ),
    Attempt(
        "fill the disk",
        "block = b'x' * (1 << 20)\nfor n in range(4000):\n with open(f'f{n}', 'wb') as f: [f.write(block) for _ in range(32)]",
        verdict=_within_disk,
        seconds=30,
        limits=_SMALL,
    ),
    Attempt(
        "fill the disk with deleted files",
        "block = b'x' * (1 << 20); kept = []\nfor n in range(400):\n f = open('f', 'wb'); os.unlink('f'); kept.append(f); [f.write(block) for _ in range(32)]",
        verdict=_within_disk,
        seconds=30,
        limits=_SMALL,
    ),
    Attempt(
        "fill the private folders",
        "took = 0\nfor d in ('/tmp', '/dev/shm', '/var/tmp'):\n with open(d + '/f', 'wb', 0) as f:\n  try:\n   while took < 1 << 30: took += f.write(b'x' * (1 << 20))\n  except OSError: pass\ntook > 64 << 20 and escaped(took)",
        limits=_SMALL,
    ),
    Attempt(
        "one huge file",
        "f = open('huge', 'wb'); signal.signal(signal.SIGXFSZ, signal.SIG_IGN); f.seek(1 << 34); f.write(b'x'); f.flush(); escaped()",
        limits=_SMALL,
    ),
    Attempt(
        "fill the memory",
        "kept = []\nfor n in range(64): kept.append(bytearray(os.urandom(1) * (32 << 20)))\nescaped()",
        limits=_SMALL,
    ),
    Attempt(
        "fill the memory together",
        "for n in range(16):\n if not os.fork(): kept = b'x' * (64 << 20); time.sleep(20); os._exit(0)\ntime.sleep(20); escaped()",
        verdict=_stopped,
        limits=_SMALL,
        seconds=25,
    ),
    Attempt(
        "fill the memory with nameless files",
        "kept = []\nfor n in range(64):\n f = os.fdopen(os.memfd_create('f'), 'wb', 0); kept.append(f); [f.write(b'x' * (1 << 20)) for _ in range(32)]\nescaped()",
        verdict=_stopped,
        limits=_SMALL,
    ),
    Attempt(
        "flood of output",
        "while True: os.write(1, b'x' * 65536)",
        verdict=_bounded,
        limits=_SMALL,
        seconds=20,
    ),
)
