"""The benchmarks run, at their smallest size, so that they cannot rot. What they measure is not tested here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("mode", ["--eval", "--train"])
def test_overhead(mode: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    options = ["--models", "chain5", "--rounds", "2", mode, "--json", str(out)]
    command = [sys.executable, "-m", "benchmarks", "overhead", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "chain5" in done.stdout
    ratios = json.loads(out.read_text())["chain5"]["ratios"]
    assert list(ratios) == ["hooks", "modules", "recorded", "graph"]
    assert all(ratio > 0 for ratio in ratios.values())
