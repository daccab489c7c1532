"""What one rank of a job does, for each kind of job that is recorded: a model, and a step of it. All are small, and for
four ranks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from support.models import Net
from torch import Tensor, nn
from torch.distributed import _functional_collectives as functional
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

__all__ = ["JOBS", "RANKS", "Job"]

RANKS = 4


class Job(NamedTuple):
    """``step`` returns what has to be the same with and without a recorder."""

    net: nn.Module
    step: Callable[[], Any]


def trained(net: nn.Module, rank: int, steps: int = 1, inputs: tuple[int, ...] = (4, 8)) -> Callable[[], Any]:
    def step() -> Any:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        found: list[Any] = []
        for _ in range(steps):
            loss = net(torch.full(inputs, rank + 1.0)).square().mean()
            loss.backward()
            found += [loss.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)]
            optimizer.step()
            optimizer.zero_grad()
        return found

    return step


def block() -> nn.Module:
    return Net(lambda net, x: net.b(net.a(x).relu()) + x, a=nn.Linear(8, 8), b=nn.Linear(8, 8))


def tower(**more: nn.Module) -> nn.Module:
    return Net(
        lambda net, x: net.last(net.second(net.one(x))), one=block(), second=block(), last=nn.Linear(8, 2), **more
    )


def data_parallel(rank: int, **options: Any) -> Job:
    net = DistributedDataParallel(tower(), bucket_cap_mb=0.0003, **options)
    return Job(net, trained(net, rank, steps=2))


def data_parallel_unused(rank: int) -> Job:
    """A layer that is not used, and a norm whose buffers are sent."""
    inner = Net(
        lambda net, x: net.norm(net.first(x)), first=nn.Linear(8, 8), norm=nn.BatchNorm1d(8), unused=nn.Linear(8, 8)
    )
    net = DistributedDataParallel(inner, find_unused_parameters=True)
    return Job(net, trained(net, rank, steps=2))


def fully_sharded(rank: int, *mesh: int) -> Job:
    net = tower()
    names = ("replicate", "shard")[-len(mesh) :]
    devices = init_device_mesh("cpu", mesh, mesh_dim_names=names)
    for part in (net.one, net.second, net):
        fully_shard(part, mesh=devices)
    return Job(net, trained(net, rank, steps=2))


def tensor_parallel(rank: int) -> Job:
    mlp = Net(lambda mlp, x: mlp.down(mlp.up(x).relu()), up=nn.Linear(8, 16), down=nn.Linear(16, 8))
    net = Net(lambda net, x: net.last(net.mlp(net.first(x))), first=nn.Linear(8, 8), mlp=mlp, last=nn.Linear(8, 2))
    mesh = init_device_mesh("cpu", (RANKS,))
    parallelize_module(mlp, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return Job(net, trained(net, 0))


def sequence_parallel(rank: int) -> Job:
    from torch.distributed.tensor import Shard

    mlp = Net(
        lambda mlp, x: mlp.down(mlp.up(mlp.norm(x)).relu()),
        norm=nn.LayerNorm(8), up=nn.Linear(8, 16), down=nn.Linear(16, 8),
    )  # fmt: skip
    net = Net(lambda net, x: net.mlp(x), mlp=mlp)
    plan = {
        "norm": SequenceParallel(),
        "up": ColwiseParallel(input_layouts=Shard(1)),
        "down": RowwiseParallel(output_layouts=Shard(1)),
    }
    parallelize_module(mlp, init_device_mesh("cpu", (RANKS,)), plan)

    def step() -> Any:
        y = net(torch.arange(64.0).reshape(2, 4, 8) / 64)
        local = y.to_local() if hasattr(y, "to_local") else y
        local.square().mean().backward()
        return [local.detach(), *(getattr(p.grad, "_local_tensor", p.grad) for p in net.parameters())]

    return Job(net, step)


def pipeline(rank: int, schedule: Any) -> Job:
    net = block()
    stage = PipelineStage(net, rank, RANKS, torch.device("cpu"))
    run = schedule(stage, 4, loss_fn=lambda y, target: (y - target).square().mean())

    def step() -> Any:
        if rank == 0:
            result = run.step(torch.ones(8, 8))
        elif rank == RANKS - 1:
            result = run.step(target=torch.zeros(8, 8))
        else:
            result = run.step()
        return [*([] if result is None else [result]), *(parameter.grad for parameter in net.parameters())]

    return Job(net, step)


class _Exchange(torch.autograd.Function):
    """Parts of a batch to all ranks and, in backward, back again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        dist.all_to_all_single(out, x.contiguous())
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        out = torch.empty_like(gradients[0])
        dist.all_to_all_single(out, gradients[0].contiguous())
        return out


def experts(rank: int, exchange: Callable[[Tensor], Tensor]) -> Job:
    def forward(net: Any, x: Tensor) -> Tensor:
        return exchange(net.expert(exchange(net.gate(x)))) + x

    net = Net(forward, gate=nn.Linear(8, 8), expert=block())
    return Job(net, trained(net, rank))


def _exchanged(x: Tensor) -> Tensor:
    sizes = [x.shape[0] // RANKS] * RANKS
    return functional.all_to_all_single_autograd(x, sizes, sizes, dist.group.WORLD)


def functionals(rank: int) -> Job:
    """The functional collectives, in a model that is trained."""

    def forward(net: Any, x: Tensor) -> Tensor:
        x = net.fc(x)
        gathered = functional.all_gather_tensor_autograd(x, 0, dist.group.WORLD)
        scattered = functional.reduce_scatter_tensor_autograd(gathered * 2, "sum", 0, dist.group.WORLD)
        total = functional.all_reduce(scattered.detach(), "sum", dist.group.WORLD)
        return scattered + total

    net = Net(forward, fc=nn.Linear(8, 8))
    return Job(net, trained(net, rank))


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = x.clone()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


def checkpointed(rank: int) -> Job:
    """A collective in a call that is computed again in backward."""

    def forward(net: Any, x: Tensor) -> Tensor:
        return checkpoint(lambda y: _Summed.apply(net.inner(y)).relu(), net.fc(x), use_reentrant=False)

    net = Net(forward, fc=nn.Linear(8, 8), inner=block())
    return Job(net, trained(net, rank))


def by_hand(rank: int) -> Job:
    """Every function of `torch.distributed` that sends tensors."""

    def together(x: Tensor) -> list[Tensor]:
        dist.all_reduce(x)
        dist.all_reduce(x, op=dist.ReduceOp.MAX, async_op=True).wait()
        dist.broadcast(x, src=1)
        dist.reduce(x, dst=2)
        parts = [torch.empty_like(x) for _ in range(RANKS)]
        dist.all_gather(parts, x)
        whole = torch.empty(RANKS * x.shape[0], x.shape[1])
        dist.all_gather_into_tensor(whole, x)
        piece = torch.empty_like(x)
        dist.reduce_scatter_tensor(piece, whole)
        dist.reduce_scatter(piece, [part * 2 for part in parts])
        dist.scatter(piece, [x + i for i in range(RANKS)] if rank == 0 else None, src=0)
        dist.gather(x, [torch.empty_like(x) for _ in range(RANKS)] if rank == 3 else None, dst=3)
        swapped = [torch.empty_like(x) for _ in range(RANKS)]
        dist.all_to_all(swapped, parts)
        mixed = torch.empty_like(whole)
        dist.all_to_all_single(mixed, whole)
        dist.barrier()
        return [x, *parts, whole, piece, *swapped, mixed]

    def in_pairs(x: Tensor) -> list[Tensor]:
        other = rank ^ 1
        received = torch.empty_like(x)
        if rank < other:
            dist.send(x, other)
            dist.recv(received, other)
        else:
            dist.recv(received, other)
            dist.send(x, other)
        again = torch.empty_like(x)
        ops = [dist.P2POp(dist.isend, received + 1, other), dist.P2POp(dist.irecv, again, other)]
        for work in dist.batch_isend_irecv(ops):
            work.wait()
        return [received + again]

    def of_a_new_group(x: Tensor) -> list[Tensor]:
        groups = [dist.new_group([0, 1]), dist.new_group([2, 3])]
        group = groups[rank // 2]
        dist.all_reduce(x, group=group)
        group.allreduce([x]).wait()
        dist.all_reduce_coalesced([x, x + 1], group=group)
        return [x * 2]

    def forward(net: Any, x: Tensor) -> list[Tensor]:
        x = net.fc(x)
        return [*together(x.clone()), *in_pairs(x * 2), *of_a_new_group(x + 1)]

    net = Net(forward, fc=nn.Linear(8, 8))

    def step() -> Any:
        with torch.no_grad():
            return net(torch.full((4, 8), rank + 1.0))

    return Job(net, step)


JOBS: dict[str, Callable[[int], Job]] = {
    "ddp": data_parallel,
    "ddp_bucket_views": partial(data_parallel, gradient_as_bucket_view=True),
    "ddp_unused": data_parallel_unused,
    "fsdp": lambda rank: fully_sharded(rank, RANKS),
    "hsdp": lambda rank: fully_sharded(rank, 2, 2),
    "tp": tensor_parallel,
    "sp": sequence_parallel,
    "gpipe": partial(pipeline, schedule=ScheduleGPipe),
    "1f1b": partial(pipeline, schedule=Schedule1F1B),
    "experts": partial(experts, exchange=_Exchange.apply),
    "experts_functional": partial(experts, exchange=_exchanged),
    "functional": functionals,
    "checkpointed": checkpointed,
    "by_hand": by_hand,
}
