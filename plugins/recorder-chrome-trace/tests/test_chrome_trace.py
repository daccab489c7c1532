"""The trace is read as its readers do it, by lines that know the format and nothing of the code that writes it."""

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner
from recorder_chrome_trace import chrome_trace, recorder_register_commands

from recorder import EventStream, Recorder, assemble
from recorder.events import Collective, Enter, Grad, Group, Header, Leave, Op, TensorMeta
from recorder.testing import HOSTILE_NAMES, StreamBuilder, sample_streams

SAMPLES = sample_streams()
README = Path(__file__).parents[1] / "README.md"


@dataclass
class Slice:
    thread: str
    name: str
    category: str
    start: float
    depth: int
    args: dict
    stop: float = -1


def read(trace):
    """The slices in the order in which they begin, and the flows as pairs of slices; fails where they do not nest."""
    trace = json.loads(json.dumps(trace, allow_nan=False))
    threads = {e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert len(set(threads.values())) == len(threads)
    slices, ends, opened, last = [], {}, {}, {}
    for event in trace["traceEvents"]:
        if event["ph"] == "M":
            continue
        stack = opened.setdefault(event["tid"], [])
        assert event["ts"] >= last.get(event["tid"], 0), "a thread goes back in time"
        last[event["tid"]] = event["ts"]
        if event["ph"] == "B":
            thread = threads[event["tid"]]
            stack.append(Slice(thread, event["name"], event["cat"], event["ts"], len(stack), event["args"]))
            slices.append(stack[-1])
        elif event["ph"] == "E":
            ended = stack.pop()
            assert ended.name == event["name"], "the brackets do not match"
            ended.stop = event["ts"]
        else:
            assert event["ph"] == "s" or (event["ph"], event["bp"]) == ("f", "e")
            assert event["ph"] not in ends.setdefault((event["cat"], event["name"], event["id"]), {})
            ends[event["cat"], event["name"], event["id"]][event["ph"]] = stack[-1]
    assert not any(opened.values()), "a slice has no end"
    assert all(flow.keys() == {"s", "f"} for flow in ends.values())
    return slices, [(flow["s"], flow["f"]) for flow in ends.values()]


def meta(device="cpu"):
    return TensorMeta((1,), "float32", device)


def training(net, *batches):
    with Recorder(net) as r:
        for batch in batches:
            net(batch).sum().backward()
    return r.events


@pytest.mark.parametrize("name", SAMPLES)
def test_every_call_is_there_as_long_as_it_took(name):
    slices, flows = read(chrome_trace(SAMPLES[name]))
    assert {s.thread for s in slices} == {"forward"}
    assert not flows
    begun = {e.call: e.start_ns for e in SAMPLES[name] if isinstance(e, Enter)}
    times = [(begun[e.call], e.stop_ns) for e in SAMPLES[name] if isinstance(e, Leave)]
    times += [(e.start_ns, e.stop_ns) for e in SAMPLES[name] if isinstance(e, Op)]
    assert [(round(s.start * 1000), round(s.stop * 1000)) for s in slices] == sorted(times)


def test_slices_lie_in_each_other_as_the_calls_did():
    slices, _ = read(chrome_trace(SAMPLES["residual"]))
    assert [(s.depth, s.name, s.args["op_type"]) for s in slices] == [
        (0, "Residual", "Residual"),
        (1, "layer1", "Block"),
        (2, "layer1.conv", "Conv2d"),
        (2, "layer1.bn", "BatchNorm2d"),
        (2, "add", "add"),
        (1, "layer2", "Block"),
        (2, "layer2.conv", "Conv2d"),
        (2, "layer2.bn", "BatchNorm2d"),
        (2, "add", "add"),
    ]
    assert slices[2].args["outputs"] == ["float32[1, 8, 32, 32] cpu"]


def test_calls_tell_arguments_and_names():
    from torch import nn

    class Cell(nn.Module):
        def forward(self, ids, mask, scale=1.0):
            return {"state": ids}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.cell = nn.RNN(1, 1), Cell()

        def forward(self, attention_mask, *, use_cache):
            return {"logits": self.cell(self.rnn(attention_mask)[0], attention_mask, scale=2.0)["state"]}

    net = Net()
    with Recorder(net) as r:
        net(torch.ones(1, 1), use_cache=True)
    whole, rnn, *_, cell = (s.args for s in read(chrome_trace(r.events))[0])
    assert (whole["arguments"], whole["inputs"], whole["outputs"]) == (
        {"use_cache": True}, ["attention_mask"], ["logits"]
    )  # fmt: skip
    assert "arguments" not in rnn
    assert (rnn["inputs"], rnn["outputs"]) == (["input"], ["0: float32[1, 1] cpu", "1: float32[1, 1] cpu"])
    assert (cell["arguments"], cell["inputs"]) == ({"scale": 2.0}, ["ids", "mask"])
    assert cell["outputs"] == ["state"]


def test_hostile_names_stay_as_they_are():
    slices, _ = read(chrome_trace(SAMPLES["hostile"]))
    assert [s.name for s in slices if s.name.startswith("leaf ")] == [f"leaf {name}" for name in HOSTILE_NAMES]


def test_errors_are_told_and_calls_that_never_returned_end_with_what_was_seen_last():
    slices, _ = read(chrome_trace(SAMPLES["error"]))
    assert [bool(s.args.get("error")) for s in slices] == [True, False, True]
    cut = EventStream(list(SAMPLES["residual"])[:-4])
    slices, _ = read(chrome_trace(cut))
    never = [s for s in slices if s.args.get("error") == "did not return"]
    assert [s.name for s in never] == ["Residual", "layer2"]
    assert {s.stop for s in never} == {max(s.stop for s in slices)}


def test_a_resnet_goes_back_through_every_module_and_arrows_lead_there():
    from torchvision.models import resnet18

    net = resnet18()
    slices, flows = read(chrome_trace(training(net, *torch.zeros(2, 2, 3, 32, 32))))
    modules = {name or "ResNet" for name, _ in net.named_modules()}
    leaves = {name for name, module in net.named_modules() if not list(module.children())}
    for thread, within in (("forward", modules), ("backward on cpu", modules)):
        seen = {s.name for s in slices if s.thread == thread}
        assert seen >= within if thread == "forward" else seen == within
    assert len(flows) == 2 * (len(leaves) + 8)  # the ReLU of each of the eight blocks is called twice
    assert {start.name for start, _ in flows} == leaves
    for start, end in flows:
        assert (start.name, start.thread, end.thread) == (end.name, "forward", "backward on cpu")
        assert start.stop <= end.start
    assert [s.name for s in slices if s.depth == 0 and s.thread != "forward"] == ["ResNet", "ResNet"]
    assert {s.args["pass"] for s in slices if s.thread != "forward"} == {0, 1}


def test_recomputation_is_told_apart_and_lies_within_backward():
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

        def forward(self, x):
            return checkpoint(self.block, x, use_reentrant=False)

    slices, _ = read(chrome_trace(training(Net(), torch.ones(2, 4))))
    again = [s for s in slices if s.category == "recomputed"]
    assert [s.name for s in again] == ["block", "block.0", "block.1"]
    (backward,) = [s for s in slices if s.name == "Net" and s.category == "backward"]
    assert all(backward.start <= s.start <= s.stop <= backward.stop for s in again)


def backward_of(*grads):
    """Two layers, called one after the other, and what backward did at them."""
    build = StreamBuilder("Net")
    x = build.tensor((1,))
    with build.call("", "Net", [x]) as net:
        net.outputs = [build.op("b", "B", [build.op("a", "A", [x], (1,))], (1,))]
    for call, phase, ns, device in grads:
        build.append(Grad(call, phase, ns, gradients=(None, meta(device))))
    slices, flows = read(chrome_trace(build.stream))
    reached = {"ab"[call - 1] for call, *_ in grads}
    assert {(start.name, end.name) for start, end in flows} == {(name, name) for name in reached}
    return [(s.thread, s.name, s.depth, s.start, s.stop) for s in slices if s.category == "backward"]


class Own(torch.nn.Module):
    """Its last part in backward is the smallest piece of what is to be done there."""

    def __init__(self):
        super().__init__()
        self.fc, self.w = torch.nn.Linear(4, 4), torch.nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        for _ in range(30):
            x = torch.tanh(x @ self.w)
        return self.fc(x)


def times_of(stream):
    """What a graph says, in microseconds, by the name of a module's only call."""
    graph = assemble(stream)
    return {p.name: None if p.backward_ns is None else p.backward_ns / 1000 for p in (*graph.scopes, *graph.nodes)}


def test_a_call_goes_back_as_long_as_the_graph_says():
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), Own(), torch.nn.Linear(4, 4))
    stream = training(net, torch.ones(2, 4))
    slices, _ = read(chrome_trace(stream))
    told = {s.name: s.stop - s.start for s in slices if s.category == "backward"}
    known = {name: time for name, time in times_of(stream).items() if time is not None}
    assert told == pytest.approx(known)
    assert {"1", "1.fc", "Sequential"} <= told.keys()
    assert told["1"] > 3 * told["1.fc"]


def test_each_pass_of_several_has_its_own_time():
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), Own())
    with Recorder(net) as r:
        loss = net(torch.ones(2, 4)).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    slices, _ = read(chrome_trace(r.events))
    passes = {s.args["pass"]: s.stop - s.start for s in slices if (s.name, s.category) == ("1", "backward")}
    assert passes.keys() == {0, 1}
    assert sum(passes.values()) == pytest.approx(times_of(r.events)["1"])


def test_what_is_not_known_to_have_ended_has_no_slice():
    """Without numbers of autograd nodes, when a call with others inside was over is not known."""
    assert backward_of((2, "arrive", 20_000, "cpu"), (2, "leave", 30_000, "cpu")) == [
        ("backward on cpu", "b", 0, 20, 30)
    ]


def test_a_device_has_its_own_thread():
    assert backward_of(
        (2, "arrive", 20_000, "cuda:1"), (2, "leave", 30_000, "cuda:1"),
        (1, "arrive", 31_000, "cuda:0"), (1, "leave", 40_000, "cuda:0"),
    ) == [
        ("backward on cuda:0", "a", 0, 31, 40),
        ("backward on cuda:1", "b", 0, 20, 30),
    ]  # fmt: skip


def test_what_overlaps_is_shown_side_by_side_at_its_true_times():
    assert backward_of(
        (2, "arrive", 20_000, "cpu"), (1, "arrive", 25_000, "cpu"),
        (2, "leave", 30_000, "cpu"), (1, "leave", 40_000, "cpu"),
    ) == [
        ("backward on cpu", "b", 0, 20, 30),
        ("backward on cpu (2)", "a", 0, 25, 40),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_it_nests_whatever_the_times(seed):
    chance = random.Random(seed)
    build = StreamBuilder("Net")

    def call(depth):
        for i in range(chance.randint(1, 4)):
            if depth < 3 and chance.random() < 0.5:
                with build.call(f"block{depth}.{i}", "Block") as block:
                    call(depth + 1)
                    block.error = chance.choice([None, "oh no"])
            else:
                build.op(f"fc{depth}.{i}", "Linear", [], (1,))

    with build.call("", "Net"):
        call(0)
    calls = [e.call for e in build.stream if isinstance(e, Enter | Op)]
    for number in calls * 3:
        grad = Grad(number, chance.choice(["arrive", "leave"]), chance.randint(0, 30) * 1000, chance.randint(0, 1))
        build.append(grad)
    events = [e for e in build.stream if not isinstance(e, Leave) or chance.random() < 0.8]
    slices, _ = read(chrome_trace(EventStream(events, build.stream.header)))
    assert sum(s.category == "forward" for s in slices) == len(calls)


@pytest.mark.parametrize("seed", range(20))
def test_a_file_that_makes_no_sense_is_drawn_all_the_same(seed):
    chance = random.Random(seed)
    events = [event for stream in SAMPLES.values() for event in chance.sample(list(stream), min(len(stream), 20))]
    events += [Grad(call, chance.choice(["arrive", "leave"]), chance.randint(0, 50) * 1000) for call in range(9)] * 2
    chance.shuffle(events)
    read(chrome_trace(EventStream(events)))
    entered = [event.call for event in events if isinstance(event, Enter)]
    assert len(entered) > len(set(entered))  # or nothing would be wrong with it


@pytest.fixture
def command():
    group = click.Group()
    recorder_register_commands(group)
    return lambda *arguments: CliRunner().invoke(group, [str(argument) for argument in arguments])


def test_the_command_writes_what_the_function_gives(command, tmp_path):
    stream = SAMPLES["residual"]
    result = command("trace", stream.save(tmp_path / "run.jsonl"), "-o", tmp_path / "trace.json")
    assert (result.exit_code, result.output) == (0, "")
    assert json.loads((tmp_path / "trace.json").read_text()) == chrome_trace(stream)
    assert json.loads(command("trace", tmp_path / "run.jsonl", "-o", "-").stdout) == chrome_trace(stream)


def test_a_file_that_is_no_recording_leaves_no_trace(command, tmp_path):
    (tmp_path / "run.jsonl").write_text("{}")
    assert command("trace", tmp_path / "run.jsonl", "-o", tmp_path / "trace.json").exception
    assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]


def test_the_example_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    exec(block, {"net": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), "x": torch.ones(1, 2)})
    slices, flows = read(json.loads(Path("trace.json").read_text()))
    assert (len(slices), len(flows)) == (3 + 1 + 3, 2)


def test_memory_is_a_counter_where_it_was_recorded():
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
    with Recorder(net, memory=True) as r:
        net(torch.ones(2, 4)).sum().backward()
    counted = [event for event in chrome_trace(r.events)["traceEvents"] if event["ph"] == "C"]
    timeline = r.graph.memory_report().timeline
    assert [event["args"]["saved"] for event in counted] == [moment.saved for moment in timeline]
    assert [sum(event["args"].values()) for event in counted] == [moment.total for moment in timeline]
    assert [event["ts"] for event in counted] == [moment.ns / 1000 for moment in timeline]
    assert {event["name"] for event in counted} == {"memory"}
    with Recorder(net) as r:
        net(torch.ones(2, 4))
    assert not [event for event in chrome_trace(r.events)["traceEvents"] if event["ph"] == "C"]


def test_ranks_are_processes_and_say_what_they_issued_together():
    streams = []
    for rank in range(2):
        op = "recv" if rank else "send"
        events = [
            Group(0, "world", "0-1", rank),
            Collective(0, 0, 0, "all_reduce", 5),
            Op("all_reduce", 5, 9, "torch.distributed.all_reduce", collective=0),
            Collective(1, 0, 0, op, 10, peer=1 - rank),
            Op(op, 10, 12, f"torch.distributed.{op}", collective=1),
        ]
        streams.append(EventStream(events, Header(model="Net", meta={"rank": rank})))
    events = chrome_trace(*streams)["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {1: "rank 0: Net", 2: "rank 1: Net"}
    told = {(e["pid"], e["name"]): e["args"]["collective"] for e in events if e["ph"] == "B"}
    world = {"group": "world", "ranks": "0-1", "number": 0, "phase": "forward"}
    assert told[1, "all_reduce"] == told[2, "all_reduce"] == world
    assert (told[1, "send"], told[2, "recv"]) == ({**world, "peer": 1}, {**world, "peer": 0})


def test_arrows_of_two_recordings_stay_apart():
    one = SAMPLES["residual"]
    with Recorder(net := torch.nn.Linear(2, 2)) as r:
        net(torch.ones(1, 2)).sum().backward()
    alone = [e["id"] for e in chrome_trace(r.events)["traceEvents"] if "id" in e]
    assert alone
    both = [(e["pid"], e["id"]) for e in chrome_trace(r.events, one, r.events)["traceEvents"] if "id" in e]
    assert len({number for _, number in both}) == 2 * len(set(alone))
    assert {pid for pid, _ in both} == {1, 3}
