"""Where a measurement was made, as far as others need it to compare: no names of hosts or users."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import torch

from benchmarks.peers import PEER_PACKAGES

__all__ = ["Machine", "describe"]


class Machine(msgspec.Struct):
    """``versions`` are of what is installed; ``commit`` is of our own code, where it lies in a git repository."""

    date: str
    cpu: str
    cores: int
    threads: int
    system: str
    gpu: str | None
    versions: dict[str, str]
    commit: str | None


def describe(device: str, threads: int) -> Machine:
    """Where we run; ``threads`` are those that torch was told to use on the CPU."""
    names = ("graph-recorder", "torch", "torchvision", "transformers", *PEER_PACKAGES)
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    if device == "cuda":
        versions["cuda"] = str(torch.version.cuda)
    return Machine(
        date=datetime.now(UTC).isoformat(timespec="minutes"),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=threads,
        system=platform.system(),
        gpu=torch.cuda.get_device_name() if device == "cuda" else None,
        versions=versions,
        commit=_commit(),
    )


def _cpu() -> str:
    """As Linux names it; elsewhere, and where it gives no name, as Python does."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
