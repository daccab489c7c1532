"""Namespace: unique, deterministic, and the first to come gets what it asked for."""

from hypothesis import given
from hypothesis import strategies as st

from recorder.graph.names import Namespace, of_output, unlike_output

# Few letters, so that wishes meet each other and each other's numbered forms.
wishes = st.lists(st.one_of(st.text(max_size=3), st.from_regex(r"[ab]?(_[0-3]){0,2}", fullmatch=True)), max_size=40)


@given(wishes)
def test_names_are_unique(asked: list[str]) -> None:
    namespace = Namespace()
    given_out = [namespace.unique(wish) for wish in asked]
    assert len(set(given_out)) == len(asked)


@given(wishes)
def test_names_are_the_same_every_time(asked: list[str]) -> None:
    one, other = Namespace(), Namespace()
    assert [one.unique(wish) for wish in asked] == [other.unique(wish) for wish in asked]


@given(wishes)
def test_a_name_that_is_free_is_given_unchanged_and_others_get_the_first_free_number(asked: list[str]) -> None:
    namespace = Namespace()
    taken: set[str] = set()
    for wish in asked:
        numbered = (f"{wish}_{number}" for number in range(1, len(asked) + 2))
        expected = wish if wish not in taken else next(name for name in numbered if name not in taken)
        assert namespace.unique(wish) == expected
        taken.add(expected)


@given(st.text(max_size=4), st.integers(0, 12))
def test_what_no_node_made_is_never_named_like_an_output(node: str, number: int) -> None:
    namespace = Namespace()
    output = of_output(node, number)
    names = [namespace.unique(unlike_output(wish)) for wish in (output, f"{output}_", output)]
    assert len({output, *names}) == 4


@given(st.text(max_size=4).filter(lambda wish: not wish[-1:].isdigit()))
def test_what_is_not_named_like_an_output_is_left_as_it_is(wish: str) -> None:
    assert unlike_output(wish) == wish
    assert unlike_output(f"{wish}1") == f"{wish}1" or wish.endswith(":")


def test_an_example() -> None:
    namespace = Namespace()
    assert [namespace.unique(wish) for wish in ["relu", "relu", "relu_1", "relu", "relu_1", ""]] == [
        "relu",
        "relu_1",
        "relu_1_1",
        "relu_2",
        "relu_1_2",
        "",
    ]


def test_many_equal_wishes_take_no_longer_for_it() -> None:
    """A search from 1 for each of them would take minutes."""
    namespace = Namespace()
    assert [namespace.unique("add") for _ in range(200_000)][-1] == "add_199999"
