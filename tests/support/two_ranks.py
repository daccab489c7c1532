"""Starts two processes of a distributed job on this machine, and sees them end."""

import os
import socket
import subprocess
import sys
from pathlib import Path

__all__ = ["run_two"]

TESTS = Path(__file__).parents[1]


def run_two(program: str, *arguments: object) -> None:
    """Run a program of this folder as both ranks, which get their number, a free port and the arguments. They talk on
    the loopback alone, have four minutes each, and are ended by id.

    Raises:
        AssertionError: one failed; says what it printed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(TESTS), *sys.path])
    ranks = [
        subprocess.Popen(
            [sys.executable, TESTS / "support" / program, str(rank), port, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for rank in ranks:
            _, error = rank.communicate(timeout=240)
            assert rank.returncode == 0, error
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
