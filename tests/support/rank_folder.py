"""What four ranks recorded of all jobs: run once, for all tests and all workers that ask for it."""

import fcntl
import os
from pathlib import Path

import pytest

__all__ = ["rank_jobs"]


@pytest.fixture(scope="session")
def rank_jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``JOB-RANK.jsonl`` and what witnesses counted, ``JOB-RANK.json``."""
    import torch  # not where nobody asks for it
    from support.rank_jobs import RANKS
    from support.two_ranks import run_ranks

    if not hasattr(torch.distributed.ProcessGroup, "register_pre_hook"):
        pytest.skip("below torch 2.14 process groups do not tell of what is issued")
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "rank_jobs"
    with (root / "rank_jobs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            run_ranks(RANKS, "recorded_jobs.py", folder)
            (folder / "done").touch()
    return folder
