"""Golden files: what an export looked like when somebody last read it.

A test asks for the fixture and compares: ``golden("tiny.dot", text)``. After a change that was meant, run
``pytest --update-golden``, and read the difference before committing it.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["FOLDER", "golden"]

FOLDER = Path(__file__).parents[1] / "golden"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """A function of a file name in ``tests/golden`` and the text that it should hold. A missing file is a failure."""

    def check(name: str, text: str) -> None:
        path = FOLDER / name
        if request.config.getoption("--update-golden"):
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
            return
        if not path.exists():
            pytest.fail(f"there is no golden file {name}; write it with --update-golden, and read it")
        with path.open(encoding="utf-8", newline="") as file:
            assert text == file.read(), f"differs from the golden file {name}"

    return check
