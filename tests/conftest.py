"""What every test file may use. Options and fixtures only: helpers are modules beside the tests."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from support.browser import browser, show
from support.golden import golden
from support.rank_folder import rank_jobs

__all__ = [
    "browser",
    "golden",
    "nothing_of_ours_is_left",
    "pytest_addoption",
    "pytest_ignore_collect",
    "rank_jobs",
    "show",
]


# Everybody's own runs look for new examples; CI's are the same each time, so that it fails by a change alone.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

# What `make quick` asks for: a few examples of what says nothing of how many it wants.
hypothesis.settings.register_profile("quick", max_examples=10, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever drives a browser is slow."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Tests of a CUDA device are not there without one, as nothing may skip in CI. Only they ask, as it loads torch."""
    if collection_path.name != "test_cuda.py":
        return None
    import torch

    return None if torch.cuda.is_available() else True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything that tests need is there, so a test that skips is a mistake in the set-up."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("a test skipped, which it may not in CI", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def nothing_of_ours_is_left() -> Iterator[None]:
    """No test may leave a hook, a mode or a thread behind. Tests that need no torch do not pay for importing it."""
    before = _installed()
    yield
    assert _installed() == before


@pytest.fixture(autouse=True)
def errors_are_printed_as_they_were() -> Iterator[None]:
    """torch prints "[rank0]" before each line of an error from when a process group was made, and goes on when it is no
    more.
    """
    before = sys.excepthook
    yield
    sys.excepthook = before


def _installed() -> dict[str, Any]:
    # One of asyncio's waits for a process that Playwright has ended to be gone, and then goes by itself.
    threads = {t for t in threading.enumerate() if t.is_alive() and not t.name.startswith("asyncio-waitpid")}
    installed: dict[str, Any] = {"threads": threads}
    installed |= {"module hooks": [], "optimizer hooks": [], "function modes": 0, "dispatch modes": 0}
    torch = sys.modules.get("torch")
    if torch is not None:
        for kind, home in (("module", "torch.nn.modules.module"), ("optimizer", "torch.optim.optimizer")):
            where = sys.modules[home]
            hooks = [value for name, value in sorted(vars(where).items()) if name.startswith("_global_")]
            installed[f"{kind} hooks"] = [hook for some in hooks if isinstance(some, dict) for hook in some]
        installed["function modes"] = torch._C._len_torch_function_stack()
        installed["dispatch modes"] = torch._C._len_torch_dispatch_stack()
    return installed
