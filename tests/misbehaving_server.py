"""A server that does as it is told, badly: it stands in for every server that misbehaves.

Speaks the leash over the standard library alone, so that it starts as fast as Python does. Without
options it is well-behaved: it announces itself, and leaves on SIGTERM or when the supervisor is
gone. `--record FILE` appends each line that the supervisor sends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time


def main() -> int:
    options = parse()
    if options.exit is not None:
        sys.stderr.write("about to fail, as asked\n")
        return options.exit
    if options.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.flood:
        sys.stderr.write("flood " * (options.flood // 6))
        sys.stderr.flush()
    if options.grandchild:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if options.close_leash:
        os.close(0)
        hang()
    with socket.socket(fileno=os.dup(0)) as leash, leash.makefile("rb") as lines:
        record(options.record, lines.readline())
        talk(leash, options)
        while line := lines.readline():
            record(options.record, line)
    return 0


def talk(leash: socket.socket, options: argparse.Namespace) -> None:
    if options.garbage:
        leash.sendall(b"\xff\x00 this is no message\n[]\n")
    if options.endless:
        with contextlib.suppress(OSError):
            leash.sendall(b"x" * (3 << 20))
    if not options.never_ready:
        leash.sendall(b'{"kind": "ready", "url": "%s"}\n' % options.url.encode())
    if options.call:
        leash.sendall(options.call.encode() + b"\n")
    if options.hang:
        hang()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--exit", type=int, help="leave at once with this code")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--hang", action="store_true", help="never look at the leash again")
    parser.add_argument("--flood", type=int, default=0, help="bytes to write to standard error")
    parser.add_argument("--grandchild", action="store_true", help="leave a process behind")
    parser.add_argument("--close-leash", action="store_true", help="let go of it and live on")
    parser.add_argument("--garbage", action="store_true", help="write nonsense on the leash")
    parser.add_argument("--endless", action="store_true", help="write a line without end on it")
    parser.add_argument("--url", default="http://127.0.0.1:9")
    parser.add_argument("--call", default="", help="a message to send once ready")
    parser.add_argument("--record", default="")
    return parser.parse_args()


def record(file: str, line: bytes) -> None:
    if file:
        with open(file, "ab") as stream:  # noqa: PTH123  pathlib costs start-up
            stream.write(line)


def hang() -> None:
    while True:
        time.sleep(600)


if __name__ == "__main__":
    sys.exit(main())
