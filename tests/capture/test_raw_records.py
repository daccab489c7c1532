"""The raw records: what the reader takes apart, the writers put together again, wherever it was written."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch
from support.models import Net, linear, same, x
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recorder import Recorder
from recorder.capture import raw_records as raw
from recorder.capture.holdings import HOLDINGS
from recorder.capture.raw_records import END, LIST, MAP, Log, Reader
from recorder.capture.tensor_facts import ADDRESS


def encoded(value: Any) -> Iterator[Any]:
    """An argument as `KnownTensors.encode` writes it."""
    if isinstance(value, list):
        yield LIST
        for item in value:
            yield from encoded(item)
        yield END
    elif isinstance(value, dict):
        yield MAP
        for name, item in value.items():
            yield name
            yield from encoded(item)
        yield END
    else:
        yield value


def parts(items: Iterator[Any], number: int) -> Log:
    """So many parts as they stand there."""
    found: Log = []
    depth = number
    for item in items:
        found.append(item)
        depth += (item is LIST or item is MAP) - (item is END)
        if not depth:
            break
    return found


def outputs(reader: Reader) -> Log:
    return [item for reference, facts in reader.outputs() for item in (reference, *facts)] + [END]


def held(reader: Reader) -> Log:
    return [item for name, reference, facts in reader.held() for item in (name, reference, *facts)] + [END]


def gradients(reader: Reader) -> Log:
    return [item for facts in reader.gradients() for item in raw.gradient_part(facts)]


WRITTEN: dict[Any, Callable[[Reader], Log]] = {
    raw.OP: lambda r: [*raw.op_record(*r.op()), *parts(r.tags, 2), *outputs(r)],
    raw.LEAF: lambda r: [*raw.leaf_record(*r.leaf()), *parts(r.tags, 2), *outputs(r), next(r.tags)],
    raw.ENTER: lambda r: raw.enter_record(*r.enter(), parts(r.tags, 1)[:-1]),
    raw.LEAVE: lambda r: [*raw.leave_record(*r.leave()), *parts(r.tags, 3), next(r.tags)],
    raw.MEET: lambda r: raw.meet_record(*r.meet()),
    raw.MODULE: lambda r: [*raw.module_record(*r.module()), *held(r), *held(r)],
    raw.DERIVED: lambda r: raw.derived_record(r.derived(), cast(Any, r.tensors())),
    raw.MEMBERS: lambda r: raw.members_record(r.members(), cast(Any, r.tensors())),
    raw.SOURCE: lambda r: raw.source_record(*r.source()),
    raw.CALL: lambda r: raw.call_record(*r.call()),
    raw.BEGUN: lambda r: raw.begun_record(*r.begun()),
    raw.GRAD: lambda r: [*raw.grad_record(*r.grad()), *gradients(r), END, *r.measures(), END],
    HOLDINGS: lambda r: [HOLDINGS, next(r.tags)],
    raw.PARAMETER: lambda r: raw.parameter_record(*(head := r.parameter())[:-1], raw.gradient_part(head[-1])),
}


def reader_of(log: Log) -> Reader:
    """One that gives the references themselves as the tensors' numbers."""
    return Reader(log, {}, cast(Any, lambda reference: reference))


def rewritten(log: Log) -> tuple[Log, set[str]]:
    """A log taken apart and written anew, and which records were in it."""
    reader = reader_of(log)
    again: Log = []
    tags = set()
    for tag in reader.tags:
        tags.add(tag.name)
        again += WRITTEN[tag](reader)
    return again, tags


class Around(TorchFunctionMode):
    """A mode of the user's, below which the hot path goes another way."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Twice(torch.autograd.Function):
    """Computes what no function mode sees."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * 2


def forward(net: Net, x: Tensor, scale: float = 1.0) -> Tensor:
    h = net.body(x) + Twice.apply(x)
    h = torch.cat([h, h.relu()], dim=1)[:, :4]
    h = h.view(size=(2, 4)) * scale
    values, _ = h.max(dim=1)
    h += values[:, None]
    return net.attention(h[:, None], h[:, None], value=h[:, None], need_weights=False)[0]


def logged(functions: bool, source: bool, monkeypatch: pytest.MonkeyPatch) -> Log:
    """Everything that was logged of a run with all kinds of calls."""
    log: Log = []
    decode = Reader.__init__

    def read(self: Reader, records: Log, *rest: Any) -> None:
        log.extend(records)
        decode(self, records, *rest)

    monkeypatch.setattr(Reader, "__init__", read)
    net = Net(forward, body=nn.Sequential(linear(), nn.ReLU()), attention=nn.MultiheadAttention(4, 2, batch_first=True))
    with Recorder(net, functions=functions, source=source, gradients="stats") as r:
        net(x(), scale=2.0).sum().backward()
        with Around():
            net(x())
        torch.func.functional_call(net, {name: p.detach() for name, p in net.named_parameters()}, (x(),))
        with pytest.raises(RuntimeError):
            net(x(2, 3))
    assert len(r.events) > 50
    monkeypatch.undo()
    return log


@pytest.mark.parametrize("functions", [True, False])
def test_every_record_is_as_its_writer_writes_it(functions: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    log = logged(functions, functions, monkeypatch)
    again, tags = rewritten(log)
    assert len(again) == len(log)
    unlike = [i for i, (a, b) in enumerate(zip(again, log, strict=True)) if a is not b and (a, type(a)) != (b, type(b))]
    assert unlike == []
    functions_only = {"OP", "SOURCE", "CALL", "BEGUN"} if functions else {"DERIVED"}
    assert tags == functions_only | {
        "HOLDINGS",
        "LEAF",
        "ENTER",
        "LEAVE",
        "MEET",
        "MODULE",
        "MEMBERS",
        "GRAD",
        "PARAMETER",
    } | (tags & {"DERIVED"})


def test_arguments_are_put_together_again() -> None:
    with Recorder(nn.Identity()) as r:
        tensors = [x(), x()]
        known = r._session.capture.known
        record: Log = [raw.OP]
        known.encode([tensors[0], 3, [tensors[1], {"a": [tensors[0], True]}], None], record)
        record.append(END)
        known.encode_keywords({"dim": (1, 2), "out": tensors[1], "sizes": {"b": 1.0}}, record)
        record.append(END)
    one, two = known.refer(tensors[0]), known.refer(tensors[1])
    reader = reader_of(record)
    assert next(reader.tags) is raw.OP
    found, values, keywords = reader.arguments()
    nested = {"arg1": 3, "arg2": [two, {"a": [one, True]}], "arg3": None}
    assert found == (one, two, one, two)
    assert values == {**nested, "dim": [1, 2], "sizes": {"b": 1.0}}
    assert keywords == ["dim", "out", "sizes"]
    written = [one, *[item for value in nested.values() for item in encoded(value)], END]
    assert record[1 : 1 + len(written)] == written


def test_where_a_gradient_is_stays_out_of_its_record() -> None:
    facts = ((2,), torch.float32, torch.device("cpu"), False, None, None, 77)
    (said, missing) = reader_of([*raw.gradient_part(facts), *raw.gradient_part(None), END]).gradients()
    assert missing is None
    assert said == (*facts[:ADDRESS], None)


def test_tags_are_shown_by_their_names() -> None:
    assert repr([raw.OP, raw.END]) == "[OP, END]"


def test_the_two_ways_of_the_hot_path_say_the_same() -> None:
    """The fast path of most calls, and the one below a mode of the user's."""
    net = nn.Sequential(linear(), nn.ReLU(), linear())
    data = x()
    with Recorder(net) as fast:
        expected = net(data)
    with Around(), Recorder(net) as slow:
        assert same(net(data), expected)
    assert [
        (n.op_type, n.fqn, [v.shape for v in n.inputs], [(v.shape, v.grad_fn) for v in n.outputs])
        for n in fast.graph.nodes
    ] == [
        (n.op_type, n.fqn, [v.shape for v in n.inputs], [(v.shape, v.grad_fn) for v in n.outputs])
        for n in slow.graph.nodes
        if n.kind == "module"
    ]
