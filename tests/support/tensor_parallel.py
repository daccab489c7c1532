"""One of two processes that train a tensor-parallel net, bare and recorded; writes what it recorded.

python tensor_parallel.py rank port folder
"""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from support.models import Net, same
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from recorder import Recorder


def make() -> nn.Module:
    torch.manual_seed(0)
    mlp = Net(lambda mlp, x: mlp.down(mlp.up(x).relu()), up=nn.Linear(8, 16), down=nn.Linear(16, 8))
    net = Net(lambda net, x: net.last(net.mlp(net.first(x))), first=nn.Linear(8, 8), mlp=mlp, last=nn.Linear(8, 2))
    mesh = init_device_mesh("cpu", (2,))
    parallelize_module(mlp, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return net


def step(net: nn.Module, grad: bool) -> list[Any]:
    torch.manual_seed(1)
    with torch.set_grad_enabled(grad):
        y = net(torch.randn(4, 8))
        if not grad:
            return [y]
        y.sum().backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    return [y, *(getattr(gradient, "_local_tensor", gradient) for gradient in gradients)]


def main(rank: str, port: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=int(rank), world_size=2)
    for name, grad in (("train", True), ("eval", False)):
        bare = step(make(), grad)
        net = make()
        with Recorder(net) as r:
            recorded = step(net, grad)
        assert same(bare, recorded)
        r.save(Path(folder) / f"{name}{rank}.json")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
