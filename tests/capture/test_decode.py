"""What a decoder forgets of a long run: not what is still under way."""

from recorder.capture.decode import _PASSES, Decoder


def test_the_last_backward_passes_keep_their_numbers() -> None:
    decoder = Decoder(0)
    first = [decoder._passes[backward] for backward in range(2 * _PASSES)]
    decoder.forget({})
    assert [decoder._passes[backward] for backward in range(_PASSES, 2 * _PASSES)] == first[_PASSES:]
    assert len(decoder._passes) == _PASSES
