"""Memory that a recording does not see, or that is not what it seems."""

from functools import partial
from typing import Any

from support.memory import needs_memory
from support.models import Net, linear, x
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from recorder import EventStream, Recorder, assemble
from recorder.events import Enter, Freed, Grad, Header, Kept, Leave, Module, Storage

pytestmark = needs_memory


def test_a_selective_checkpoint_keeps_at_least_so_much() -> None:
    def policy(ctx: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
        return CheckpointPolicy.MUST_SAVE

    contexts = partial(create_selective_checkpoint_contexts, policy)
    for chosen, unknown in (({"context_fn": contexts}, 1), ({}, 0)):
        net = Net(
            lambda self, t, chosen=chosen: checkpoint(self.b, self.a(t), use_reentrant=False, **chosen) * 2,
            a=linear(), b=linear(),
        )  # fmt: skip
        with Recorder(net, memory=True) as r:
            net(x()).sum().backward()
        assert len(r.graph.memory_report().unknown) == unknown


def test_what_stands_in_for_parameters_while_a_module_runs_is_not_kept_for_backward() -> None:
    """As FSDP has it: whole parameters are put in the place of shards before a call."""

    def kept(gathered: bool) -> int:
        net = nn.Sequential(linear(), nn.ReLU(), linear())
        if gathered:

            def gather(module: Any, args: Any) -> None:
                for layer in (module[0], module[2]):
                    layer._parameters["weight"] = nn.Parameter(layer.weight.detach().clone())

            net.register_forward_pre_hook(gather)
        with Recorder(net, memory=True) as r:
            net(x().requires_grad_()).sum().backward()
        return r.graph.memory_report().by_kind["saved"]

    assert kept(True) == kept(False) > 0


def test_the_end_of_an_estimate_is_that_of_backward_in_later_parts_too() -> None:
    def call(number: int, ns: int) -> list[Any]:
        return [Enter(number, 0, ns, (), True), Leave(number, ns + 1, (), ())]

    estimate = [Storage(0, 8, "cpu", estimated=True), Kept(0, (0,))]
    events = [Module(0, "", "Net", "m.Net", False), *call(0, 0), *estimate, Grad(0, "leave", 5), *call(1, 10)]
    later = EventStream(events, Header(meta={"memory": True})).split()[1]
    assert not [event for event in later if isinstance(event, Storage | Kept)]


def test_of_one_moment_the_highest_counts() -> None:
    events = [Module(0, "", "Net", "m.Net", False), Enter(0, 0, 0, (), True),
              Storage(0, 8), Storage(1, 16), Freed(1), Leave(0, 9, (), ())]  # fmt: skip
    assert assemble(EventStream(events, Header(meta={"memory": True}))).memory_report().peak_bytes == 24
