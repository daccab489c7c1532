"""LaTeX itself typesets what the TikZ plugin writes, of many models and of names that mean harm."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from recorder_tikz import TikzExporter
from recorder_tikz_text import DEFINITIONS, latex
from support.zoo import ZOO
from torchvision import models

from recorder import Graph, Recorder, readable
from recorder.testing import HOSTILE_NAMES, bearing, sample_graphs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed, which typesets TikZ"),
]

CLASSIFIERS = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "inception_v3", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "resnet18", "resnet50", "shufflenet_v2_x0_5", "squeezenet1_0",
    "swin_t", "vgg11", "vit_b_16",
)  # fmt: skip
TRANSFORMERS = ("bert", "gpt2", "llama", "t5", "vit")

PAGES = r"""\documentclass{article}
\usepackage{tikz}
\usetikzlibrary{arrows.meta}
\pdfpagewidth=5000mm \pdfpageheight=5000mm
\begin{document}
"""


def recorded(name: str) -> Graph:
    """A model, where tensors have no memory."""
    with torch.device("meta"), torch.no_grad():
        if name in CLASSIFIERS:
            options = {"init_weights": False} if name in ("inception_v3") else {}
            net, batch = models.get_model(name, weights=None, **options), {"x": torch.zeros(1, 3, 299, 299)}
            batch["x"] = batch["x"][..., :224, :224] if name == "vit_b_16" else batch["x"]
        else:
            net, batch = ZOO[name].make(), ZOO[name].batch()
        with Recorder(net.eval()) as r:
            net(**batch)
    return r.graph


def typeset(text: str, folder: Path, name: str = "figures") -> str:
    """What pdflatex says; an error of its is one here."""
    (folder / f"{name}.tex").write_text(text, "ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3_000:]
    assert "Missing character" not in (folder / f"{name}.log").read_text(errors="replace")
    return done.stdout


def pages(said: str) -> int:
    found = re.search(r"Output written on .*?\((\d+)\s+page", said.replace("\n", " "))
    assert found is not None
    return int(found[1])


def on_pages(figures: list[str]) -> str:
    shipped = [rf"\setbox0=\hbox{{{figure}}}\shipout\box0" for figure in figures]
    return PAGES + "\n".join(shipped) + "\n\\end{document}\n"


def figure(graph: Graph, **options: Any) -> str:
    text = TikzExporter().export(readable(graph), standalone=False, **options)
    assert text.isascii()
    return text


def test_many_models_are_typeset(tmp_path: Path) -> None:
    names = [*CLASSIFIERS, *TRANSFORMERS]
    said = typeset(on_pages([figure(recorded(name)) for name in names]), tmp_path)
    assert pages(said) == len(names) >= 20


def test_names_that_mean_harm_are_typeset(tmp_path: Path) -> None:
    names = [
        *HOSTILE_NAMES,
        "half of a character: \ud800",
        "}\\end{document}",
        "^^M",
        "\\input{|ls}",
        "%",
        "?`!`--''``,,<<>>",
    ]
    said = typeset(on_pages([figure(bearing(*names), legend=True, initializers=True)]), tmp_path)
    assert pages(said) == 1


def test_any_character_is_typeset(tmp_path: Path) -> None:
    characters = [*map(chr, (*range(0x20, 0x600), *range(0x2000, 0x2800))), "中", "😀", "한"]
    lines = [rf"\setbox0=\hbox{{{latex(character)}}}" for character in characters]
    lines += [rf"\ifdim\wd0=0pt \errmessage{{nothing}}\fi {line}" for line in lines]
    typeset(PAGES + DEFINITIONS + "\n" + "\n".join(lines) + "\n\\shipout\\box0\n\\end{document}\n", tmp_path)


def test_every_sample_and_every_option_is_typeset(tmp_path: Path) -> None:
    options: list[dict[str, Any]] = [
        *({"theme": theme, "legend": True} for theme in ("light", "dark", "print", "colour-blind")),
        {"direction": "LR", "width": r"0.5\textwidth"},
        {"initializers": True, "show": "name,shape,dtype,flops"},
    ]
    samples = sample_graphs()
    figures = [figure(graph, width="4cm") for graph in samples.values()]
    figures += [figure(samples[name], **chosen) for name in ("residual", "error") for chosen in options]
    figures.append(figure(samples["residual"], labels={"layer1": r"block $B_1$", "Conv2d": r"Conv\\$3\times3$"}))
    figures.append(figure(samples["residual"], colour_by="parameters", legend=True))
    said = typeset(on_pages(figures), tmp_path)
    assert pages(said) == len(figures)


def test_a_figure_of_its_own_is_one_page_as_large_as_it(tmp_path: Path) -> None:
    text = "\\pdfobjcompresslevel=0\n" + TikzExporter().export(sample_graphs()["residual"])
    assert pages(typeset(text, tmp_path, "net")) == 1
    (box,) = re.findall(rb"/MediaBox \[([\d. ]+)\]", (tmp_path / "net.pdf").read_bytes())
    _, _, across, up = map(float, box.split())
    assert 50 < across < 200 < up < 500
