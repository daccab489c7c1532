"""One of two processes of a distributed job, which runs a step bare and recorded; writes what it recorded.

python ranks.py rank port folder case
"""

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from support.models import Net, linear, same, tensors
from torch import Tensor, nn
from torch.distributed import all_reduce  # a name of the user's own
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.nn.parallel import DistributedDataParallel

from recorder import Recorder

Step = Callable[[], Any]


def collectives(rank: int) -> tuple[nn.Module, Step]:
    """Each in a module of its own, so that a line of the graph says which one it is."""

    def gathered(_: Any, x: Tensor) -> Tensor:
        parts = [torch.empty(2, 4) for _ in range(2)]
        dist.all_gather(parts, x)
        return parts[0] - parts[1]

    def gathered_into_one(_: Any, x: Tensor) -> Tensor:
        whole = torch.empty(4, 4)
        dist.all_gather_into_tensor(whole, x)
        return whole[2:]

    def scattered(_: Any, x: Tensor) -> Tensor:
        part = torch.empty(2, 4)
        dist.scatter(part, [x, x + 1] if rank == 0 else None, src=0)
        return part * 2

    def collected(_: Any, x: Tensor) -> Tensor:
        parts = [torch.empty(2, 4) for _ in range(2)] if rank == 0 else None
        dist.gather(x, parts, dst=0)
        return x if parts is None else parts[1] + x

    def sent(_: Any, x: Tensor) -> Tensor:
        if rank == 0:
            dist.send(x, 1)
            return x + 1
        received = torch.empty(2, 4)
        assert dist.recv(received, 0) == 0
        return received + 1

    def exchanged(_: Any, x: Tensor) -> Tensor:
        received = torch.empty(2, 4)
        ops = [dist.P2POp(dist.isend, x, 1 - rank), dist.P2POp(dist.irecv, received, 1 - rank)]
        for work in dist.batch_isend_irecv(ops):
            work.wait()
        return received * x

    def together(_: Any, x: Tensor) -> Tensor:
        with dist._coalescing_manager():
            dist.all_reduce(x)
        return x * 2

    def of_a_new_group(_: Any, x: Tensor) -> Tensor:
        group = dist.new_group([0, 1])
        group.allreduce([x]).wait()
        return x * 2

    parts: dict[str, Any] = {
        "reduced": lambda _, x: [all_reduce(x, op=dist.ReduceOp.MAX), x * 2][1],
        "later": lambda _, x: [dist.all_reduce(x, async_op=True).wait(), x * 2][1],
        "broadcast": lambda _, x: [dist.broadcast(x[0], 0), x * 2][1],
        "reduced_to": lambda _, x: [dist.reduce(x, 0), x * 2][1],
        "group": lambda _, x: [dist.group.WORLD.allreduce([x]).wait(), x * 2][1],
        "gathered": gathered,
        "gathered_into_one": gathered_into_one,
        "scattered": scattered,
        "collected": collected,
        "sent": sent,
        "exchanged": exchanged,
        "together": together,
        "new": of_a_new_group,
    }
    made = {name: Net(lambda net, x, part=part: part(net, net.fc(x)), fc=linear()) for name, part in parts.items()}
    net = Net(lambda net, x: [getattr(net, name)(x) for name in parts], **made)

    def step() -> Any:
        with torch.no_grad():
            return net(torch.full((2, 4), float(rank)))

    return net, step


def trained(net: nn.Module, rank: int) -> Step:
    def step() -> Any:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            loss = net(torch.full((4, 8), rank + 1.0)).square().mean()
            loss.backward()
            gradients = [parameter.grad.clone() for parameter in net.parameters()]
            optimizer.step()
            optimizer.zero_grad()
        return [loss.detach(), *gradients]

    return step


def block() -> nn.Module:
    return Net(lambda net, x: net.b(net.a(x).relu()) + x, a=nn.Linear(8, 8), b=nn.Linear(8, 8))


def ddp(rank: int) -> tuple[nn.Module, Step]:
    net = DistributedDataParallel(Net(lambda net, x: net.last(net.block(x)), block=block(), last=nn.Linear(8, 2)))
    return net, trained(net, rank)


def ddp_with_buffers(rank: int) -> tuple[nn.Module, Step]:
    net = DistributedDataParallel(
        Net(lambda net, x: net.norm(net.first(x)), first=nn.Linear(8, 8), norm=nn.BatchNorm1d(8))
    )
    return net, trained(net, rank)


def fsdp(rank: int) -> tuple[nn.Module, Step]:
    net = Net(lambda net, x: net.last(net.second(net.one(x))), one=block(), second=block(), last=nn.Linear(8, 2))
    for part in (net.one, net.second, net):
        fully_shard(part, mesh=dist.device_mesh.init_device_mesh("cpu", (2,)))
    return net, trained(net, rank)


def pipeline(rank: int) -> tuple[nn.Module, Step]:
    net = block()
    stage = PipelineStage(net, rank, 2, torch.device("cpu"))
    schedule = ScheduleGPipe(stage, 2, loss_fn=lambda y, target: (y - target).square().mean())

    def step() -> Any:
        if rank == 0:
            schedule.step(torch.ones(4, 8))
            result = None
        else:
            result = schedule.step(target=torch.zeros(4, 8))
        return [*([] if result is None else [result]), *(parameter.grad for parameter in net.parameters())]

    return net, step


CASES = {made.__name__: made for made in (collectives, ddp, ddp_with_buffers, fsdp, pipeline)}


def plain(found: Any) -> list[Tensor]:
    return [getattr(tensor, "_local_tensor", tensor).detach().clone() for tensor in tensors(found)]


def main(rank: str, port: str, folder: str, case: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=int(rank), world_size=2)

    def make() -> tuple[nn.Module, Step]:
        torch.manual_seed(0)
        return CASES[case](int(rank))

    net, step = make()
    bare = [*plain(step()), *plain([*net.parameters(), *net.buffers()])]
    net, step = make()
    with warnings.catch_warnings(record=True) as warned, Recorder(net) as r:
        warnings.simplefilter("always")
        found = step()
    recorded = [*plain(found), *plain([*net.parameters(), *net.buffers()])]
    assert same(bare, recorded)
    r.graph.lint()
    r.save(Path(folder) / f"{rank}.json")
    (Path(folder) / f"{rank}.txt").write_text("\n".join(str(warning.message) for warning in warned))
    before = len(r.events)
    step()
    assert len(r.events) == before
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
    # FSDP's mesh holds the process group until Python ends, and torch's threads for it now and then outlive what they
    # need then: the process is aborted, recorded or not.
    sys.stderr.flush()
    os._exit(0)
