"""The action for pull requests: its scripts, in a repository of their own, with a ``gh`` that takes notes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEFORE = "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Linear(4, 4), nn.ReLU())\n"
GH = """#!/usr/bin/env bash
echo "$@" >>"$ASKED"
case "$*" in *--paginate*) echo "$FOUND" ;; esac
"""


def run(*command: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """A repository with a changed model, and what a runner has in its environment."""
    repository, tools = tmp_path / "repository", tmp_path / "tools"
    repository.mkdir()
    tools.mkdir()
    for name, text in (("gh", GH), ("recorder", f'#!/bin/sh\nexec "{sys.executable}" -m recorder "$@"\n')):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    who = ("git", "-c", "user.name=x", "-c", "user.email=x@example.org")
    run("git", "init", "--quiet", cwd=repository)
    (repository / "mynet.py").write_text(BEFORE)
    run("git", "add", ".", cwd=repository)
    run(*who, "commit", "--quiet", "-m", "before", cwd=repository)
    base = run("git", "rev-parse", "HEAD", cwd=repository).strip()
    (repository / "mynet.py").write_text(BEFORE.replace("ReLU", "GELU"))
    paths = {name: str(tmp_path / name.lower()) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "ASKED")}
    ours = os.pathsep.join([str(ROOT), str(ROOT / "exporters")])
    return {
        **paths, "RUNNER_TEMP": str(tmp_path), "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ours,
        "MODEL": "mynet:net", "ARGUMENTS": "--input 1,4", "SOURCE": ".", "BASE": base, "NUMBER": "7", "FOUND": "",
        "GITHUB_REPOSITORY": "us/ours",
    }  # fmt: skip


@pytest.mark.slow
def test_what_changed_is_in_the_summary_and_in_one_comment(job: dict[str, str], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    run(str(ROOT / "action" / "compare.sh"), cwd=repository, **job)
    assert Path(job["GITHUB_OUTPUT"]).read_text() == "changed=true\n"
    assert "! ~ 1  GELU  op_type: ReLU → GELU" in Path(job["GITHUB_STEP_SUMMARY"]).read_text("utf-8")
    assert "base" not in run("git", "worktree", "list", cwd=repository)
    told = {"": "POST repos/us/ours/issues/7/comments", "12": "PATCH repos/us/ours/issues/comments/12"}
    for found, asked in told.items():
        run(str(ROOT / "action" / "comment.sh"), cwd=repository, **job | {"FOUND": found})
        assert asked in Path(job["ASKED"]).read_text()
    comment = (tmp_path / "architecture" / "comment.md").read_text("utf-8")
    assert comment.startswith("<!-- graph-recorder: mynet:net -->\n### What changed in `mynet:net`\n")
    assert "op_type: ReLU → GELU" in comment


@pytest.mark.slow
def test_a_model_that_the_base_has_not_is_told(job: dict[str, str], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "mynet.py").rename(repository / "other.py")
    run(str(ROOT / "action" / "compare.sh"), cwd=repository, **job | {"MODEL": "other:net"})
    assert "could not be recorded at the base" in (tmp_path / "architecture" / "changed.md").read_text()
