"""Finalizers: Python may run them at any moment, also in the middle of a hook."""

import gc

import pytest
import torch
from support.faults import errors, small
from support.models import Net, same

from recorder import Recorder


class Garbage:
    """A cycle, which only the collector frees, and which calls the net then."""

    def __init__(self, net: Net, done: list[bool], outcome: BaseException | None) -> None:
        self.itself, self.net, self.done, self.outcome = self, net, done, outcome

    def __del__(self) -> None:
        with torch.no_grad():
            self.done.append(bool(self.net.block(torch.ones(1, 4)).exp().sum() > 0))
        if self.outcome is not None:
            raise self.outcome


@pytest.mark.slow
@pytest.mark.parametrize("outcome", [None, ValueError("in a finalizer")], ids=["silent", "raising"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_finalizers_that_call_the_net_at_any_moment(outcome: BaseException | None) -> None:
    net, batch = small()
    net(batch).exp().sum().backward()
    gradients = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    done: list[bool] = []
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what was there before is not searched each time
    for threshold in range(1, 40):
        net.zero_grad()
        done.clear()
        with Recorder(net) as outer, Recorder(net.block) as inner:
            waste = [Garbage(net, done, outcome) for _ in range(8)]
            del waste
            gc.set_threshold(threshold)
            try:
                net(batch).exp().sum().backward()
            finally:
                gc.set_threshold(*thresholds)
            gc.collect()
        assert done == [True] * 8
        assert same([p.grad for p in net.parameters()], gradients)
        for r in (outer, inner):
            r.graph.lint()
            names = [(n.op_type, n.fqn) for n in r.graph.nodes]
            assert names.count(("Linear", "head")) == (r is outer)
            assert names.count(("Linear", "block.fc" if r is outer else "fc")) == 9
            assert not errors(r.graph)
    gc.unfreeze()
