"""`make reliability` counts right, and its report has every section and as many tests as there are."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from support import reliability
from support.untouched import ASPECTS, ways

pytestmark = pytest.mark.slow


def test_models_are_counted() -> None:
    assert reliability.models(["lstm", "squeezenet1_1"]) == (
        True,
        "1 classifiers of torchvision and 1 others, in train and in eval: "
        f"{2 * len(ways('lstm')) + 2} of {2 * len(ways('lstm')) + 2} recorded runs the same as unrecorded",
    )


def test_a_difference_is_counted_and_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(reliability, "compare", lambda _, training, how: {way: ["loss"] * training for way in how})
    good, line = reliability.models(["bert"])
    assert not good
    assert f"{len(ways('bert'))} of {2 * len(ways('bert'))} recorded runs" in line
    assert "bert, train, modules alone: loss" in capsys.readouterr().err


def test_tests_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # these need none, and some take seconds to import
    good, bad = tmp_path / "test_good.py", tmp_path / "test_bad.py"
    good.write_text("def test_one(): ...\n\n\ndef test_two(): ...\n")
    bad.write_text("import pytest\n\n\ndef test_one(): assert False\n\n\ndef test_two(): pytest.skip('no')\n")
    assert reliability.passed(str(good)) == (True, "2 passed of 2")
    assert reliability.passed(str(good), str(bad)) == (False, "2 passed of 4")
    assert reliability.passed(str(tmp_path / "test_missing.py"))[0] is False


def test_the_report_has_every_section() -> None:
    page = reliability.REPORT.read_text(encoding="utf-8")
    lines = page.split("```text\n")[1].split("\n```")[0].splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["torch", *reliability.SECTIONS]
    assert f"compared: {', '.join(ASPECTS)}" in lines


def test_the_report_counts_as_many_tests_as_there_are() -> None:
    """All that are run for it are collected at once, which takes seconds; whether they pass, the suite tells."""
    wanted = {name: section.args for name, section in reliability.SECTIONS.items() if isinstance(section, partial)}
    files = sorted({argument for arguments in wanted.values() for argument in arguments if argument.endswith(".py")})
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *files]
    collected = subprocess.run(command, cwd=reliability.ROOT, capture_output=True, text=True, check=True).stdout
    tests = [line for line in collected.splitlines() if "::" in line]
    page = reliability.REPORT.read_text(encoding="utf-8")
    for name, arguments in wanted.items():
        mine = [test for test in tests if test.partition("::")[0] in arguments]
        if "-k" in arguments:
            words = arguments[-1].split(" or ")
            mine = [test for test in mine if any(word in test.partition("::")[2] for word in words)]
        told = re.search(rf"^{re.escape(name)}: (\d+) passed of (\d+)$", page, re.MULTILINE)
        assert told is not None, name
        assert int(told[2]) == len(mine), f"{name}: make reliability prints other figures by now"
        assert int(told[1]) <= int(told[2])
