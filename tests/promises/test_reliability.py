"""`make reliability` counts right, and its report has every section."""

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
    assert "3 of 6 recorded runs" in line
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
