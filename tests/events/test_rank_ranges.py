"""Ranks as text, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.events import as_ranges, of_ranges, ranks_in_words


@given(st.lists(st.integers(0, 50), max_size=30))
def test_every_list_of_ranks_comes_back(ranks: list[int]) -> None:
    assert of_ranges(as_ranges(ranks)) == tuple(ranks)


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        (range(1000), "0-999"),
        (range(0, 64, 8), "0-56:8"),
        ([5], "5"),
        ([], ""),
        ([3, 1], "3,1"),
        ([0, 2], "0,2"),
        ([0, 1, 2, 9, 10, 11, 40], "0-2,9-11,40"),
    ],
)
def test_ranges_are_short(ranks: list[int], text: str) -> None:
    assert as_ranges(ranks) == text


def test_a_text_that_names_too_many_is_refused() -> None:
    with pytest.raises(ValueError, match="names more than 1,048,576 ranks"):
        of_ranges("0-99999999999999")
    for text in ("a", "1-", "1-2:0", ",", "-1"):
        with pytest.raises(ValueError, match=r"invalid literal|must not be zero"):
            of_ranges(text)


def test_in_words() -> None:
    assert ranks_in_words([3]) == "rank 3"
    assert ranks_in_words([0, 1, 2, 8]) == "ranks 0–2, 8"
