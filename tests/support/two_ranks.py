"""Starts the processes of a distributed job on this machine, and sees them end."""

import os
import socket
import subprocess
import sys
from pathlib import Path

__all__ = ["ended", "run_ranks", "run_two", "start_ranks"]

TESTS = Path(__file__).parents[1]


def start_ranks(count: int, program: str, *arguments: object) -> list["subprocess.Popen[str]"]:
    """Start a program of this folder as so many ranks, which get their number, a free port and the arguments. They talk
    on the loopback alone. Whoever starts them ends them: see `ended`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(TESTS), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, TESTS / "support" / program, str(rank), port, *map(str, arguments)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ended(ranks: list["subprocess.Popen[str]"]) -> None:
    """End what is still running, by its id."""
    for rank in ranks:
        rank.kill()
        rank.communicate()


def run_ranks(count: int, program: str, *arguments: object) -> None:
    """Run a program as so many ranks, for four minutes at most.

    Raises:
        AssertionError: one failed; says what it printed.
    """
    ranks = start_ranks(count, program, *arguments)
    try:
        for rank in ranks:
            _, error = rank.communicate(timeout=240)
            assert rank.returncode == 0, error
    finally:
        ended(ranks)


def run_two(program: str, *arguments: object) -> None:
    """The same with two of them."""
    run_ranks(2, program, *arguments)
