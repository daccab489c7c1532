"""An error in words."""

import pytest

from recorder.errors import describe_error


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "told", "short"),
    [
        (ValueError("no luck"), "ValueError: no luck", "ValueError: no luck"),
        (ValueError("\n  no luck \nat all"), "ValueError: \n  no luck \nat all", "ValueError: no luck"),
        (ValueError(), "ValueError", "ValueError"),
        (ValueError("\n"), "ValueError: \n", "ValueError"),
        (KeyError("gone"), "KeyError: 'gone'", "KeyError: 'gone'"),
        (Mute(), "Mute: <its message raised an error>", "Mute: <its message raised an error>"),
        (None, "unknown error", "unknown error"),
    ],
)
def test_an_error_in_words(error: BaseException | None, told: str, short: str) -> None:
    assert describe_error(error) == told
    assert describe_error(error, first_line=True) == short
