"""Runs that are killed while they stream: `python killed.py FOLDER TRIALS SEED`, with one JSON line for each.

A trial is a fork of this process, which has loaded torch already. It trains a small net, and says over a pipe each time
a call of the net has returned; at a random moment it is killed, as the kernel kills what takes too much memory.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

from recorder import EventStream, Recorder, assemble
from recorder.events import Enter, Leave, Op

__all__ = ["returned_calls", "trial"]


def returned_calls(stream: EventStream) -> int:
    """How many outermost calls a stream holds to their end."""
    begun = {event.call for event in stream if isinstance(event, Enter) and event.outermost}
    ended = {event.call for event in stream if isinstance(event, Leave)}
    return len(begun & ended) + sum(isinstance(event, Op) and event.outermost for event in stream)


def _train(path: Path, told: int) -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with Recorder(net, stream=path):
        while True:
            optimizer.zero_grad()
            out = net(torch.randn(2, 4))
            os.write(told, b".")
            (out**2).mean().backward()
            optimizer.step()


def trial(path: Path, wait: float) -> dict[str, object]:
    """One run that is killed `wait` seconds after its first call. Says what it had told, and what its file holds."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _train(path, writing)
        finally:
            os._exit(1)
    os.close(writing)
    told = len(os.read(reading, 1))
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    while more := os.read(reading, 1 << 16):
        told += len(more)
    os.close(reading)
    raw = path.read_bytes()
    stream = EventStream.load(path)
    graph = assemble(stream)
    graph.lint()
    return {
        "killed": os.WIFSIGNALED(status),
        "told": told,
        "returned": returned_calls(stream),
        "truncated": stream.truncated and graph.meta.get("truncated"),
        "mid_line": not raw.endswith(b"\n"),
        "nodes": len(graph.nodes),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)  # a fork has one thread
    folder, trials, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    for number in range(trials):
        print(json.dumps(trial(folder / f"{number}.jsonl", chance.uniform(0, 0.05))), flush=True)
