"""Time and memory of something that runs on a device."""

import gc
import tracemalloc
from collections.abc import Callable
from time import perf_counter_ns

import torch

__all__ = ["held_bytes", "peak_bytes", "time_ns"]


def time_ns(run: Callable[[], object], repeats: int, device: str) -> float:
    """Nanoseconds that one run takes, averaged over ``repeats`` of them in a row.

    On CUDA it is the time between two events, one before the first run and one after the last, on a device that was
    idle: that holds what the CPU does in between, and the kernels that it is ahead of.
    """
    if device != "cuda":
        start = perf_counter_ns()
        for _ in range(repeats):
            run()
        return (perf_counter_ns() - start) / repeats
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    before.record()
    for _ in range(repeats):
        run()
    after.record()
    torch.cuda.synchronize()
    milliseconds: float = before.elapsed_time(after)
    return milliseconds * 1e6 / repeats


def held_bytes(run: Callable[[], object]) -> tuple[int, int]:
    """Python memory that what ``run`` returns keeps alive, and the peak on the way there, in bytes. Tensors' data are
    not in it: torch allocates those itself.
    """
    tracemalloc.start()
    try:
        result = run()
        gc.collect()
        held, peak = tracemalloc.get_traced_memory()
        del result
    finally:
        tracemalloc.stop()
    return held, peak


def peak_bytes(run: Callable[[], object]) -> int:
    """What a run takes of the CUDA device's memory at its peak, beyond what was taken before, in bytes."""
    gc.collect()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = run()
    torch.cuda.synchronize()
    peak: int = torch.cuda.max_memory_allocated()
    del result
    return peak - before
