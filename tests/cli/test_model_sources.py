"""Models by name from libraries, and from files."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.command_line import fails, recorded, works
from torch import nn

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}


@pytest.mark.parametrize(
    ("model", "config", "inputs"),
    [
        ("bert", SMALL, ["input_ids"]),
        ("BertForSequenceClassification", SMALL, ["input_ids"]),
        ("vit", {k: v for k, v in SMALL.items() if k != "vocab_size"} | {"image_size": 32}, ["pixel_values"]),
        ("t5", {"d_model": 16, "d_ff": 16, "num_layers": 1, "num_heads": 2}, ["input_ids", "decoder_input_ids"]),
    ],
)
def test_a_model_of_transformers_is_called_with_what_it_says_of_itself(tmp_path, monkeypatch, model, config, inputs):
    monkeypatch.chdir(tmp_path)
    result = works("record", f"transformers:{model}", "--config", json.dumps(config), "-o", "run.jsonl")
    graph = recorded()
    graph.lint()
    assert set(inputs) <= set(graph.input_names)
    assert f"{inputs[0]}=" in result.stderr.splitlines()[0]
    if config is SMALL:
        weights = [value for value in graph.initializers if value.name.endswith("word_embeddings.weight")]
        assert [value.shape for value in weights] == [(50, 16)]


def test_an_input_of_ones_own_goes_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    works("record", "transformers:bert", "--config", json.dumps(SMALL), "--input", "2,3:int64<50", "-o", "run.jsonl")
    assert [value.shape for value in recorded().inputs] == [(2, 3)]


def test_what_is_too_large_is_made_without_memory_alone():
    told = fails("record", "transformers:llama")
    assert told.startswith("llama has 6.6 billion parameters with this config: make it smaller")
    assert "--device meta" in told


def test_no_weights_are_downloaded(monkeypatch):
    def download(*arguments, **options):
        raise AssertionError("a download")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", download)
    works("record", "transformers:bert", "--config", json.dumps(SMALL))
    works("record", "torchvision.models.segmentation:lraspp_mobilenet_v3_large", "--input", "1,3,32,32")


@pytest.fixture
def timm(monkeypatch):
    """As much of timm as we use, which need not be installed."""
    made = {}

    def create_model(name, pretrained, **arguments):
        made.update(name=name, pretrained=pretrained, **arguments)
        net = nn.Sequential(nn.Conv2d(3, 2, 3))
        net.default_cfg = {"input_size": (3, 8, 8)}
        return net

    library = SimpleNamespace(create_model=create_model, is_model="tiny".__eq__, list_models=lambda: ["tiny"])
    monkeypatch.setitem(sys.modules, "timm", library)
    return made


def test_a_model_of_timm(timm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = works("record", "timm:tiny", "--kwargs", '{"num_classes": 3, "pretrained": true}', "-o", "run.jsonl")
    assert timm == {"name": "tiny", "pretrained": False, "num_classes": 3}
    assert "recording Sequential on 1,3,8,8" in result.stderr
    assert [value.shape for value in recorded().inputs] == [(1, 3, 8, 8)]
    assert fails("record", "timm:tinny") == "timm has no model 'tinny': did you mean tiny?"
    assert fails("record", "timm:tiny", "--config", '{"a": 1}').startswith("--config is for transformers")


def test_a_library_that_is_not_there_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert fails("record", "timm:resnet18") == "timm is not installed: pip install timm"


# Files


def test_a_file_in_a_package_may_import_its_neighbours(project):
    folder = project / "outer" / "inner"
    folder.mkdir(parents=True)
    for path in (folder, folder.parent):
        (path / "__init__.py").touch()
    (folder / "sizes.py").write_text("WIDTH = 3")
    (folder / "net.py").write_text(
        "from torch import nn\nfrom .sizes import WIDTH\nclass Net(nn.Linear):\n    def __init__(self):\n"
        "        super().__init__(4, WIDTH)"
    )
    works("record", "outer/inner/net.py:Net", "--input", "1,4", "-o", "run.jsonl")
    (node,) = recorded().nodes
    assert node.outputs[0].shape == (1, 3)
    for name in [name for name in sys.modules if name.partition(".")[0] == "outer"]:
        del sys.modules[name]


def test_a_file_may_import_what_lies_beside_it_and_have_dataclasses(project):
    Path("deep").mkdir()
    Path("deep/width.py").write_text("WIDTH = 3")
    Path("deep/net.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport torch\nfrom torch import nn\n"
        "from width import WIDTH\n@dataclass\nclass Out:\n    y: torch.Tensor\n    n: int\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(4, WIDTH)\n"
        "    def forward(self, x, mode='train'):\n        return Out(self.fc(x), 1)"
    )
    works("record", "deep/net.py:Net", "--input", "x=1,4", "--input", 'mode="eval"', "--backward", "-o", "run.jsonl")
    graph = recorded()
    assert graph.output_names == ["y"]
    assert graph.scopes[0].meta["arguments"] == {"mode": "eval"}
    for name in ("net", "width"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_a_detection_model_takes_a_list_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = "torchvision.models.detection:ssdlite320_mobilenet_v3_large"
    works("record", model, "--input", "[3,64,64; 3,80,80]", "-o", "run.jsonl")
    assert [value.shape for value in recorded().inputs] == [(3, 64, 64), (3, 80, 80)]
    target = "{boxes: [[0,0,8,8]]:float32; labels: [1]:int64}"
    images = ("--input", "[3,64,64; 3,80,80]", "--input", f"targets=[{target}; {target}]")
    works("record", model, *images, "--train", "--backward", "-o", "run.jsonl")
    graph = recorded()
    assert graph.output_names == ["bbox_regression", "classification"]
    assert "targets.1.labels" in graph.input_names


def test_a_meta_model_takes_no_memory(project):
    works(
        "record",
        "mynet:Net",
        "--kwargs",
        '{"width": 100000000000}',
        "--device",
        "meta",
        "--input",
        "1,4",
        "-o",
        "a.json",
    )
    assert torch.device("meta").type in Path("a.json").read_text("utf-8")
