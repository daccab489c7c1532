"""The lines that are written before operations are issued say what their events do."""

from typing import Any

import pytest
import torch

from recorder.capture.collective_lines import CollectiveLines
from recorder.capture.issues import GroupFacts, Issue
from recorder.events.stream import encode_events

ORIGIN = 1_000


def issue(index: int, op_type: str = "all_reduce", **more: Any) -> Issue:
    group = GroupFacts(3, "0", (4, 5, 6), 1, "gloo", "")
    found = Issue(index, group, index + 7, op_type, ORIGIN + 11 * index, [torch.Size([2, 3])], [], torch.float32, 2)
    for name, value in more.items():
        setattr(found, name, value)
    return found


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "of a module": {"module": 'layer."100%d".ü'},
    "of a unit, in backward": {"unit": "layers.0", "backward": 0, "sequence": 41},
    "in backward of no node": {"backward": 0},
    "sent": {"op_type": "send"},
    "of no dtype": {"dtype": None, "inputs": []},
    "of a name like a gap": {"module": f"a{-(2**63) + 1}b"},
    "of a size that is no number": {"inputs": [([],)]},
}


@pytest.mark.parametrize("form", FORMS)
def test_are_those_of_the_events(form: str) -> None:
    lines = CollectiveLines(ORIGIN)
    for index in (0, 1, 2**40):
        one = issue(index, **FORMS[form])
        if "sequence" in FORMS[form]:
            one.sequence = index
        assert lines.line(one) == encode_events([one.event(ORIGIN)])


def test_of_several_forms_in_turn() -> None:
    lines = CollectiveLines(ORIGIN)
    issues = [issue(index, **more) for index, more in enumerate([*FORMS.values()] * 3)]
    assert [lines.line(one) for one in issues] == [encode_events([one.event(ORIGIN)]) for one in issues]
    assert len({lines.line(one) for one in issues}) == len(issues)
