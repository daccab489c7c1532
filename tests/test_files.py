import recorder
from recorder.files import utf8


def test_text_is_utf8_with_half_a_character_as_its_escape() -> None:
    assert recorder.utf8 is utf8
    assert utf8("naïve 🙂") == "naïve 🙂".encode()
    assert utf8("a\ud800b") == rb"a\ud800b"
