"""Random edits of random models: a diff finds them, nothing else, and all of them."""

import random
from collections import Counter

import pytest
from support.edits import EDITS, Truth, applied, edited, facts, meta, recorded, traced

from recorder import Diff, architecture, diff, loads


def found(diff: Diff) -> Truth:
    added, removed, changed = (
        Counter(place.op_type for place in places)
        for places in (diff.added, diff.removed, [change.b for change in diff.changed])
    )
    return Truth(added, removed, changed, len(diff.renamed))


def check_all_is_told(diff: Diff) -> None:
    assert applied(diff) == facts(diff.b)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_is_found_as_what_it_is(kind: str, seed: int) -> None:
    rng = random.Random(f"{kind} {seed}")
    net = traced(rng, rng.randint(3, 25))
    while (changed := edited(net, rng, kind)) is None:
        net = traced(rng, rng.randint(3, 25))
    a, b = recorded(net, meta(2, 8)), recorded(changed[0], meta(2, 8))
    what = diff(a, b)
    assert found(what) == changed[1], str(what)
    check_all_is_told(what)
    assert what
    if kind == "swap":
        (change,) = what.rewired
        assert len(change.what) == 2
    back = diff(b, a)
    assert found(back)[:2] == (changed[1].removed, changed[1].added)
    check_all_is_told(back)


@pytest.mark.parametrize("seed", range(4))
def test_many_edits_are_all_told(seed: int) -> None:
    rng = random.Random(f"many {seed}")
    net = traced(rng, 60)
    after = net
    for kind in rng.choices([*EDITS], k=4):
        step = edited(after, rng, kind) if kind != "wrap" else None
        after = after if step is None else step[0]
    a, b = recorded(net, meta(2, 8)), recorded(after, meta(2, 8))
    what = diff(a, b)
    check_all_is_told(what)
    assert len(what.added) + len(what.removed) + len(what.changed) + len(what.renamed) <= 9
    assert repr(what) == repr(diff(loads(architecture(a)), loads(architecture(b))))


@pytest.mark.parametrize("seed", range(3))
def test_two_models_that_have_little_in_common_are_told_apart(seed: int) -> None:
    rng = random.Random(f"apart {seed}")
    a, b = (recorded(traced(rng, rng.randint(1, 40)), meta(2, 8)) for _ in range(2))
    check_all_is_told(diff(a, b))


@pytest.mark.parametrize("seed", range(3))
def test_a_model_is_as_itself(seed: int) -> None:
    rng = random.Random(f"same {seed}")
    net = traced(rng, 40)
    a, b = recorded(net, meta(2, 8)), recorded(net, meta(2, 8))
    assert not diff(a, b)
    assert str(diff(a, b)) == "the same architecture"
