"""Prints the lowest versions that pyproject.toml allows, as constraints for pip.

They are read from the one list that there is, so `make test-oldest` tries a bound as soon as it is moved. What tests
alone need is not held down.
"""

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def lowest(requirement: str) -> str:
    """``"name>=1.2"`` as ``"name==1.2"``.

    Raises:
        ValueError: there is no lower bound, or more is said than that.
    """
    found = re.fullmatch(r"([\w.-]+)\s*>=\s*([\w.]+)", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} is no name with its lowest version, such as 'name>=1.2'")
    return "==".join(found.groups())


if __name__ == "__main__":
    for requirement in tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["dependencies"]:
        print(lowest(requirement))
