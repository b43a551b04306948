"""A program that knows nothing of tale and serves HTTP badly, on command, at the port it is told.

It stands in for the servers that users add. Without options it answers every request with 404.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deaf", action="store_true", help="accept connections, never answer")
    parser.add_argument("--garbage", action="store_true", help="answer what is no HTTP")
    parser.add_argument("--half", action="store_true", help="close in the middle of an answer")
    parser.add_argument("--leave-child", action="store_true", help="start one in its own session")
    parser.add_argument("--grow", type=int, default=0, help="take this many MiB of memory")
    parser.add_argument("--port", type=int, default=int(os.environ["PORT"]))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if options.leave_child:
        sleeper = "import time; time.sleep(600)"
        subprocess.Popen([sys.executable, "-S", "-c", sleeper], start_new_session=True)
    ballast = b"x" * (options.grow << 20)
    with socket.create_server(("127.0.0.1", options.port)) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                if options.deaf:
                    time.sleep(600)
                connection.recv(65536)
                connection.sendall(answer(options))
    del ballast


def answer(options: argparse.Namespace) -> bytes:
    if options.garbage:
        return b"\x00\x01\x02 this is no HTTP at all\r\n\r\n"
    if options.half:
        return b"HTTP/1.1"
    return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


if __name__ == "__main__":
    main()
