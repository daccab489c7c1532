"""More than one recorder at once, and threads."""

import threading

from support.models import ONE_CALL, Block, Net, in_words, linear, net_with_relu, written, x
from torch import Tensor

from recorder import Graph, Recorder


def test_recorders_of_the_same_net_nest() -> None:
    net = net_with_relu()
    with Recorder(net) as outer:
        with Recorder(net) as inner:
            net(x())
        assert in_words(inner.graph) == written(ONE_CALL)
    assert in_words(outer.graph) == written(ONE_CALL)


def test_a_recorder_of_a_part_inside_one_of_the_whole() -> None:
    net = Net(lambda net, x: net.block(x).exp(), block=Block(lambda block, x: block.fc(x).relu(), fc=linear()))
    with Recorder(net) as outer, Recorder(net.block) as inner:
        net(x())
    assert in_words(inner.graph) == written("""
        inputs: input
        Block: fc = Linear(input, fc.weight)
        Block: relu = relu(fc:0)
        exp = exp(relu:0)
        outputs: relu:0
    """)
    assert in_words(outer.graph) == written("""
        inputs: input
        Net/block: block.fc = Linear(input, block.fc.weight)
        Net/block: block.relu = relu(block.fc:0)
        Net: exp = exp(block.relu:0)
        outputs: exp:0
    """)


def test_recorders_left_in_any_order() -> None:
    net = net_with_relu()
    first, second = Recorder(net), Recorder(net)
    first.__enter__()
    second.__enter__()
    net(x())
    first.__exit__(None, None, None)
    net(x())
    second.__exit__(None, None, None)
    assert len(first.graph.nodes) == 2
    assert len(second.graph.nodes) == 4


def test_a_recorder_entered_inside_forward() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.a(x)
        with Recorder(net.b) as inner:
            y = net.b(y)
        inside.append(inner)
        return y.exp()

    inside: list[Recorder] = []
    net = Net(forward, a=linear(), b=linear())
    with Recorder(net) as outer:
        net(x())
    assert [node.name for node in outer.graph.nodes] == ["a", "b", "exp"]
    assert [node.name for node in inside[0].graph.nodes] == ["Linear"]


def test_threads_do_not_see_each_other() -> None:
    nets = [Net(lambda net, x: net.fc(x).relu() if net.deep else net.fc(x), fc=linear(), deep=i % 2) for i in range(4)]
    graphs: dict[int, Graph] = {}
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(nets))

    def run(i: int) -> None:
        try:
            with Recorder(nets[i]) as r:
                for _ in range(20):
                    barrier.wait()
                    nets[i](x()).sum().backward()
                barrier.wait()
            graphs[i] = r.graph
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(nets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for i, graph in graphs.items():
        graph.lint()
        assert len(graph.nodes) == 20 * (3 if i % 2 else 2)


def test_what_other_threads_do_is_not_recorded() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        thread = threading.Thread(target=lambda: net(x()))
        thread.start()
        thread.join()
        net(x())
    assert in_words(r.graph) == written(ONE_CALL)
