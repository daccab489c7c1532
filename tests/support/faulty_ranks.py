"""One of some ranks that train by hand and stream what they do; one of them has a fault.

python faulty_ranks.py rank port folder ranks fault
"""

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from support.models import Net
from torch import Tensor, nn

from recorder import Recorder

FAULTY = 1
"""The rank with the fault, in the second step, in the layer `second`."""

STEPS = 3


def main(rank: str, port: str, folder: str, ranks: str, fault: str) -> None:
    faulty = int(rank) == FAULTY
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=int(rank),
        world_size=int(ranks),
        timeout=timedelta(seconds=8),
    )
    at: dict[str, Any] = {"step": 0}

    def summed(net: Any, x: Tensor) -> Tensor:
        x = net.fc(x)
        if faulty and at["step"] == 1 and net is second:
            if fault == "shape":
                x = x[:1].contiguous()
            elif fault == "op":
                dist.broadcast(x, 0)
                return x
            elif fault == "skip":
                return x
            elif fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            elif fault == "hangs":
                time.sleep(600)
        dist.all_reduce(x)
        return x

    first, second, third = (Net(summed, fc=nn.Linear(4, 4)) for _ in range(3))
    net = Net(lambda net, x: net.third(net.second(net.first(x))), first=first, second=second, third=third)
    with torch.no_grad(), Recorder(net, stream=Path(folder) / "{rank}.jsonl"):
        for step in range(STEPS):
            at["step"] = step
            net(torch.ones(2, 4))
    if fault == "none":
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
