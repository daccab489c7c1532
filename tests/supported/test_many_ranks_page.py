"""The job on the page "Many ranks" runs as it stands, under torchrun, and what is said of its files holds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import recorder

PAGE = Path(__file__).parents[2] / "docs" / "many-ranks.md"


@pytest.mark.slow
def test_the_job_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(torch.distributed.ProcessGroup, "register_pre_hook"):
        pytest.skip("below torch 2.14 process groups do not tell of what is issued")
    job, merged = re.findall(r"^```py\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "train.py").write_text(job)
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"],
        check=True,
        timeout=200,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GLOO_SOCKET_IFNAME": "lo"},
    )
    namespace: dict[str, object] = {}
    exec(compile(merged, str(PAGE), "exec"), namespace)
    graph = namespace["graph"]
    assert isinstance(graph, recorder.Graph)
    graph.lint()
    assert {link.ranks for link in graph.links} == {(0, 1)}
    assert sum(link.op_type == "all_reduce" for link in graph.links) == 3
    assert recorder.desync("runs/*.jsonl").ok
