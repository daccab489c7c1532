"""``recorder formats``."""

from support.command_line import works

import recorder


def test_formats_lists_every_format_in_one_line_each():
    result = works("formats")
    rows = [line.split() for line in result.stdout.splitlines()]
    for format_ in recorder.formats():
        assert [format_.name, *format_.suffixes, format_.media_type, format_.plugin] in rows
    assert "direction" not in result.stdout
    assert result.stderr == ""


def test_formats_verbose_shows_what_they_are_and_their_options():
    out = works("formats", "--verbose").stdout
    for format_ in recorder.formats():
        assert format_.summary in out
        for option in format_.options:
            assert option.describe() in out
