"""Several alike that were added in a row: where they stand is told by what was there, and not by one of them."""

from torch import nn, ones

from recorder import Diff, Recorder, diff


def _grown(*ends: tuple[int, int]) -> Diff:
    def recorded(sizes: list[int]) -> Recorder:
        blocks = [nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(size)]) for size in sizes]
        net = nn.Sequential(*blocks)
        with Recorder(net) as r:
            net(ones(1, 4))
        return r

    return diff(recorded([before for before, _ in ends]), recorded([after for _, after in ends]))


def test_several_in_a_row_stand_after_what_was_there() -> None:
    line = next(line for line in str(_grown((2, 5))).splitlines() if line.startswith("+"))
    assert line == "+ 0.* (3 places)  Sequential of 2 nodes, after 0.1"


def test_a_picture_of_several_lists_is_titled_in_short() -> None:
    several, one = _grown((2, 4), (2, 3)), _grown((2, 4))
    assert several.graph().name == str(several).splitlines()[0]
    assert one.graph().name == "0: 2 → 4 items"
