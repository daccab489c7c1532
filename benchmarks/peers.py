"""What people use today instead, each called as its own documentation does, with all output to screen and disk off.

Where a tool has several depths, it is the one that gives a graph or a table of the whole model. torch.fx and
torch.export do not run the model, and say nothing of a run; they are here because they are what one reaches for.
"""

import multiprocessing.process
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from torch.autograd import backward

from benchmarks.modes import EVALUATIONS, LeftOut, Mode
from benchmarks.workload import Workload

__all__ = ["PEERS", "PEER_PACKAGES"]

PEER_PACKAGES = ("torchinfo", "torchview", "torchlens", "torchviz", "torchvista")


def torchinfo(workload: Workload) -> object:
    _needs("torchinfo")
    from torchinfo import summary

    with workload.around():
        return summary(workload.net, input_data=workload.inputs, verbose=0)


def torchview(workload: Workload) -> object:
    _needs("torchview")
    from torchview import draw_graph

    with workload.around():
        return draw_graph(workload.net, input_data=workload.inputs, depth=100)


def torchlens(workload: Workload) -> object:
    """It refuses to run in a child of multiprocessing, which may hold half a copy of its state. Here there is none to
    copy, as it is first imported in the child.
    """
    _needs("torchlens")
    multiprocessing.process._parent_process = None  # type: ignore[attr-defined]
    from torchlens import trace

    with workload.around():
        return trace(workload.net, workload.inputs)


def torchvista(workload: Workload) -> object:
    """Writes its page into a file, as it would into a notebook otherwise."""
    _needs("torchvista")
    from torchvista import trace_model

    with workload.around(), TemporaryDirectory() as folder:
        trace_model(workload.net, workload.inputs, export_path=str(Path(folder) / "page.html"))
    return None


def torchviz(workload: Workload) -> object:
    """Draws the autograd graph of a training step."""
    _needs("torchviz")
    from torchviz import make_dot

    workload.net.zero_grad()
    loss = workload.loss()
    dot = make_dot(loss, params=dict(workload.net.named_parameters()))
    backward(loss)
    return dot


def profiler(workload: Workload) -> object:
    from torch.profiler import ProfilerActivity, profile

    cuda = [ProfilerActivity.CUDA] if workload.device == "cuda" else []
    with profile(activities=[ProfilerActivity.CPU, *cuda]) as found:
        workload()
    return found


def fx(workload: Workload) -> object:
    from torch.fx import symbolic_trace

    return symbolic_trace(workload.net)


def export(workload: Workload) -> object:
    from torch.export import export as exported

    with workload.around():
        return exported(workload.net, workload.inputs)


def debug_mode(workload: Workload) -> object:
    try:
        from torch.utils._debug_mode import DebugMode
    except ImportError:
        raise LeftOut("this torch has no DebugMode") from None
    with DebugMode() as found:
        workload()
    return found


def flop_counter(workload: Workload) -> object:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as found:
        workload()
    return found


def _needs(package: str) -> None:
    if find_spec(package) is None:
        raise LeftOut(f"{package} is not installed")


PEERS = {
    "torchinfo": Mode(torchinfo, EVALUATIONS),
    "torchview": Mode(torchview, EVALUATIONS),
    "torchlens": Mode(torchlens, EVALUATIONS),
    "torchvista": Mode(torchvista, EVALUATIONS),
    "torchviz": Mode(torchviz, ("train",)),
    "torch.profiler": Mode(profiler),
    "torch.fx": Mode(fx, EVALUATIONS),
    "torch.export": Mode(export, EVALUATIONS),
    "DebugMode": Mode(debug_mode),
    "FlopCounterMode": Mode(flop_counter),
}
