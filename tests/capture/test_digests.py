"""What two recordings compare of a tensor: torch itself says the same of clones, in any dtype and layout."""

import math
from typing import Any

import pytest
import torch
from support.models import Net, linear, same, x
from torch import Tensor, nn

import recorder.capture.tensor_stats
from recorder import EventStream, Recorder, assemble, dumps, loads
from recorder.capture.tensor_digest import SAMPLE, SUMS
from recorder.capture.tensor_stats import Measures

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64, torch.int64,
    torch.int32, torch.uint8, torch.bool,
]  # fmt: skip


def digest(tensor: Tensor) -> tuple[list[float | None], list[float], int]:
    measures = Measures(mean=True, digest=True)
    measure = measures.measure(tensor)
    measures.read()
    assert measure is not None
    found = measure.digest()
    assert found is not None
    return found


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 7, SUMS, SAMPLE, 33, 1000, 40_000])
def test_the_sample_is_of_the_elements_and_each_is_another(size: int) -> None:
    sample, sketch, _ = digest(torch.arange(size, dtype=torch.float64))
    assert len(sample) == min(size, SAMPLE)
    assert len(sketch) == min(size, SUMS)
    found = [int(n) for n in sample if n is not None]
    assert found == sorted(set(found))
    assert not size or found[-1] >= size - max(1, 2 * size // SAMPLE)


@pytest.mark.parametrize("what", ["noise", "a factor", "a shift", "one channel", "one row", "one element"])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 5, 7), (4, 96, 160), (2, 64, 24, 24)])
def test_the_distance_of_sketches_is_that_of_the_tensors(shape: tuple[int, ...], what: str) -> None:
    ratios = []
    for seed in range(8):
        one = noise(*shape, seed=seed)
        other = one.clone()
        if what == "noise":
            other += 0.01 * noise(*shape, seed=seed + 100)
        elif what == "a factor":
            other *= 1.01
        elif what == "a shift":
            other += 0.01
        else:
            at = {"one channel": (..., seed % shape[-1]), "one row": (seed % shape[0],)}.get(what, (0,) * len(shape))
            other[at] += 0.5
        ratios.append(math.dist(digest(one)[1], digest(other)[1]) / (one - other).norm().item())
    assert all(0.3 < ratio < 2 for ratio in ratios)
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_digest_is_that_of_any_layout_and_the_same_read_at_once_or_later(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = (3 * noise(2, 3, 40, 5)).to(dtype)
    found = digest(tensor)
    strided = tensor.transpose(1, 3).contiguous().transpose(1, 3)
    assert not strided.is_contiguous()
    assert digest(strided) == found
    assert digest(tensor.reshape(-1)) == found
    monkeypatch.setattr(recorder.capture.tensor_stats, "_numbers_of_finite", lambda *_: None)
    assert digest(tensor) == found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_one_bit_of_one_element_is_seen(dtype: torch.dtype) -> None:
    tensor = (3 * noise(7, 900)).to(dtype)
    changed = tensor.clone()
    raw = torch.view_as_real(changed) if dtype.is_complex else changed
    raw.view(torch.uint8)[3, 17] ^= 1
    assert digest(changed)[2] != digest(tensor)[2]


def test_neighbours_that_move_against_each_other_do_not_cancel_out() -> None:
    tensor = noise(1000)
    changed = tensor.clone()
    changed[1] = torch.nextafter(tensor[1], tensor[1] + 1)
    changed[500] = torch.nextafter(tensor[500], tensor[500] - 1)
    assert digest(changed)[2] != digest(tensor)[2]


def test_what_is_not_finite_is_left_out() -> None:
    tensor = noise(3, 40)
    broken = tensor.clone()
    broken[0, 0], broken[1, 1], broken[2, 2] = math.nan, math.inf, -math.inf
    sample, sketch, _ = digest(broken)
    assert None in sample
    assert sketch == digest(torch.nan_to_num(broken, 0, 0, 0))[1]


def test_values_and_gradients_have_digests_that_are_saved_and_read(tmp_path: Any) -> None:
    net = nn.Sequential(linear(), nn.ReLU(), linear())
    with Recorder(net, values="digest", gradients="digest") as r:
        net(batch := x(2, 4)).sum().backward()
    graph = r.graph
    assert graph.inputs[0].meta["digest"]["sample"] == batch.flatten().tolist()
    for node in graph.nodes:
        assert set(node.outputs[0].meta["digest"]) == {"sample", "sketch", "bits"}
        assert set(node.outputs[0].meta["stats"]) == {"norm", "largest", "mean", "nan", "inf", "zeros"}
    (told,) = graph.nodes[0].meta["backward"]["arrived"]
    assert len(told["digest"]["sample"]) == 8
    weight = next(value for value in graph.initializers if value.name == "0.weight")
    gradient = net[0].weight.grad
    assert weight.meta["backward"]["gradient"]["digest"]["sample"] == gradient.flatten().tolist()  # type: ignore[union-attr]
    assert assemble(EventStream.load(r.events.save(tmp_path / "run.jsonl"))) == graph
    assert loads(dumps(graph)) == graph
    assert graph.gradient_report().ok
    assert graph.value_report().ok


def test_a_transposed_tensor_has_the_digest_of_its_own_order_and_integers_have_one() -> None:
    net = Net(lambda net, x: (x.t(), x.reshape(-1), x.argmax(), x > 0))
    with Recorder(net, values="digest") as r:
        net(batch := x(3, 4))
    samples = [value.meta["digest"]["sample"] for value in r.graph.outputs]
    assert samples[:2] == [batch.t().flatten().tolist(), batch.flatten().tolist()]
    assert samples[2] == [batch.argmax().item()]
    assert samples[3] == (batch > 0).flatten().double().tolist()


@pytest.mark.parametrize("options", [{}, {"functions": False}, {"autograd": True}])
def test_the_run_is_the_same_to_the_bit(options: dict[str, Any]) -> None:
    runs = []
    for how in ({}, {"values": "digest", "gradients": "digest"}):
        torch.manual_seed(0)
        net = nn.Sequential(linear(), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.ReLU(), linear())
        with Recorder(net, **options, **how):  # type: ignore[arg-type]
            made = net(x(6, 4))
            made.sum().backward()
        gradients = [p.grad for p in net.parameters()]
        runs.append((made, gradients, list(net.buffers()), torch.random.get_rng_state()))
    assert same(*runs)
