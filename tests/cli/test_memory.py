"""``recorder memory``."""

import json

import pytest
import torch
from support.command_line import fails, works
from support.memory import needs_memory

from recorder import Recorder
from recorder.cli.find_model import find_model, total

pytestmark = needs_memory


def test_it_says_what_a_recording_says(project):
    net = find_model("mynet:Net", {})
    optimizer = torch.optim.SGD(net.parameters())
    with Recorder(net, memory=True) as r:
        result = net(torch.randn(3, 4))
        total(result).backward()
        optimizer.step()
    expected = r.graph.memory_report()
    (told,) = json.loads(works("memory", "mynet:Net", "--input", "3,4", "--optimizer", "SGD", "--as", "json").stdout)
    assert told["by_kind"] == dict(expected.by_kind)
    assert told["peak_bytes"] == expected.peak_bytes
    assert told["peak_phase"] == expected.peak_phase


@pytest.mark.parametrize("device", [(), ("--device", "cpu"), ("--device", "meta")])
def test_it_is_the_same_with_numbers_and_without(project, device):
    result = works("memory", "mynet:Net", "--input", "3,4", "--optimizer", "adamw", *device)
    without = works("memory", "mynet:Net", "--input", "3,4", "--optimizer", "adamw")
    assert result.stdout == without.stdout
    assert result.stdout.startswith("peak ")


def test_several_batches_give_a_line(project):
    result = works("memory", "mynet:Net", "--input", "1,4", "--batch", 64, "--batch", 16, "--batch", 32, "--as", "json")
    told = json.loads(result.stdout)
    assert [one["batch"] for one in told] == [16, 32, 64]
    saved = [one["by_kind"]["saved"] for one in told]
    lines = works("memory", "mynet:Net", "--input", "1,4", "--batch", 64, "--batch", 16).stdout.splitlines()
    assert lines[0].startswith("batch 16: peak ")
    each = (saved[2] - saved[0]) / 48
    assert saved[1] - saved[0] == 16 * each
    assert lines[-1] == f"kept for backward: {saved[0] - 16 * each:.0f} B and {each:.0f} B for each example"


def test_a_dtype_holds_without_numbers(project):
    one, half = (
        json.loads(works("memory", "mynet:Net", "--input", "3,4", "--dtype", dtype, "--as", "json").stdout)[0]
        for dtype in ("float32", "bfloat16")
    )
    assert one["by_kind"]["parameters"] == 2 * half["by_kind"]["parameters"] > 0


def test_evaluation_keeps_nothing(project):
    result = works("memory", "mynet:Net", "--input", "3,4", "--inference", "--as", "json")
    assert json.loads(result.stdout)[0]["by_kind"]["saved"] == 0


def test_what_cannot_be_is_said(project):
    assert "did you mean adamw?" in fails("memory", "mynet:Net", "--input", "3,4", "--optimizer", "adanw")
    assert "there is no input with sizes" in fails("memory", "mynet:Net", "--batch", 3, "--input", "n:=3")


@pytest.mark.slow
def test_a_model_of_70_billion_parameters_takes_no_memory():
    config = {
        "hidden_size": 8192, "num_hidden_layers": 80, "intermediate_size": 28672, "num_attention_heads": 64,
        "num_key_value_heads": 8, "vocab_size": 128256, "use_cache": False,
    }  # fmt: skip
    result = works(
        "memory", "transformers:LlamaForCausalLM", "--config", json.dumps(config), "--dtype", "bfloat16",
        "--input", "input_ids=1,64:int64<1000", "--as", "json",
    )  # fmt: skip
    (told,) = json.loads(result.stdout)
    parameters = 2 * 128256 * 8192 + 80 * (2 * 8192 * 8192 + 2 * 8192 * 1024 + 3 * 8192 * 28672 + 2 * 8192) + 8192
    assert told["by_kind"]["parameters"] == 2 * parameters
