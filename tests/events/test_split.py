"""A stream in parts, one for each call: what belongs to which."""

from recorder import assemble
from recorder.events import BackwardStart, Grad, ParameterGrad, Tensor, TensorMeta
from recorder.testing import StreamBuilder

META = TensorMeta((4, 4), "float32", "cpu")


def test_a_gradient_goes_to_no_part_that_lacks_its_parameter() -> None:
    """One pass through two calls ends in the first; a parameter is new in the second."""
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with build.call("", "Net", [x]) as call:  # number 0
        call.outputs = [build.op("fc", "Linear", [x], (1, 4), weight=(4, 4))]
    with build.call("", "Net", [x]) as call:  # number 2
        call.outputs = [build.op("new", "Linear", [x], (1, 4), weight=(4, 4))]
    held = {event.name: event.tensor for event in build.stream if isinstance(event, Tensor)}
    for event in (
        Grad(3, "arrive", 20_000),
        Grad(1, "arrive", 20_001),
        ParameterGrad(held["fc.weight"], 20_002, 0, META),
        ParameterGrad(held["new.weight"], 20_003, 0, META),
    ):
        build.append(event)
    parts = [assemble(part) for part in build.stream.split()]
    told = [{v.name: "backward" in v.meta for v in graph.initializers} for graph in parts]
    assert told == [{"fc.weight": True}, {"fc.weight": False, "new.weight": True}]


def test_a_part_knows_what_its_backward_began_at() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    for _ in range(2):
        with build.call("", "Net", [x]) as call:
            call.outputs = [y := build.op("fc", "Linear", [x], (1, 4), weight=(4, 4))]
        build.append(BackwardStart(y, META))
    parts = [assemble(part) for part in build.stream.split()]
    assert [[start["value"] for start in graph.meta["backward_starts"]] for graph in parts] == [["fc:0"], ["fc:0"]]
