"""A pytest fixture that fails when the architecture of a model is not the one that was committed.

    def test_encoder(architecture):
        architecture.check(Encoder(layers=12), torch.zeros(1, 16, 512))

compares with ``architectures/test_encoder.arch`` beside the test, which ``pytest --architecture-update`` writes.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recorder import RecorderError, diff, load, utf8
from recorder import architecture as text_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Architecture", "architecture", "pytest_addoption", "pytest_terminal_summary"]

FLAG = "--architecture-update"
LINES = 8
"""Of a difference, in a failure of ten."""

_claimed = pytest.StashKey[dict[Path, str]]()
_written = pytest.StashKey[list[Path]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that writes."""
    group = parser.getgroup("graph-recorder")
    group.addoption(FLAG, action="store_true", help="write the architectures of models instead of comparing with them")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was written."""
    for path in config.stash.get(_written, []):
        terminalreporter.write_line(f"architecture written: {path}")


class Architecture:
    """What the fixture gives. Each check of one test has a file of its own: ``test_net.arch``, ``test_net.2.arch``."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        node = request.node
        classes = [part.name for part in node.listchain() if isinstance(part, pytest.Class)]
        self._name = _file_name(".".join([*classes, node.name]))
        self._folder = Path(node.path).parent / "architectures"
        self._test = f"{node.path}: {node.name}"
        self._config: pytest.Config = request.config
        self._checks = 0

    def check(self, net: "nn.Module", *args: Any, **kwargs: Any) -> Any:
        """Call the model, as ``net(*args, **kwargs)``, and compare what it did with what is committed. Weights and
        values make no difference: a model and tensors on the device ``meta`` will do.

        Returns:
            What the model returned.
        """
        __tracebackhide__ = True
        from recorder import Recorder

        with Recorder(net) as run:
            result = net(*args, **kwargs)
        self._checks += 1
        number = f".{self._checks}" if self._checks > 1 else ""
        path = self._folder / f"{self._name}{number}.arch"
        other = self._config.stash.setdefault(_claimed, {}).setdefault(path, self._test)
        if other != self._test:
            pytest.fail(f"{path.name} is of {other} already: give one of the two tests another name", pytrace=False)
        if self._config.getoption(FLAG):
            self._update(path, text_of(run.graph))
        elif not path.exists():
            shown = _shown(path, self._config)
            pytest.fail(f"there is no {shown} yet: write it with pytest {FLAG}, and commit it", pytrace=False)
        else:
            try:
                changed = diff(path, run)
            except RecorderError as error:
                pytest.fail(f"{_shown(path, self._config)} cannot be read: {error}", pytrace=False)
            if changed:
                told = changed.to_text(LINES)
                head = f"the architecture is not that of {_shown(path, self._config)} any more"
                pytest.fail(f"{head}\n{told}\nIf this is meant: pytest {FLAG}, and commit the file", pytrace=False)
        return result

    def _update(self, path: Path, text: str) -> None:
        if path.exists() and path.read_bytes() == utf8(text):
            return
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(utf8(text))
        load(path)  # what cannot be read is not to be found out later
        self._config.stash.setdefault(_written, []).append(Path(_shown(path, self._config)))


@pytest.fixture
def architecture(request: pytest.FixtureRequest) -> Architecture:
    """``architecture.check(net, *args)`` fails if the model does something else than what is committed."""
    return Architecture(request)


def _file_name(name: str) -> str:
    """A test's name as a file's: of ``test_net[2-True]`` what every file system takes."""
    return re.sub(r"[^\w.\-]+", "-", name).strip("-")[:150]


def _shown(path: Path, config: pytest.Config) -> str:
    return str(path.relative_to(config.rootpath)) if path.is_relative_to(config.rootpath) else str(path)
