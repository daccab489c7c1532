"""``recorder formats``."""

import re

from support.command_line import fails, works

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


def test_formats_of_a_name_says_what_every_option_means():
    for format_ in recorder.formats():
        out = works("formats", format_.name.upper()).stdout
        assert out.startswith(f"{format_.name}: {format_.summary}\n")
        told = " ".join(out.split())
        for option in format_.options:
            assert f"{option.describe()} " in told
            assert re.sub("``?", "", option.about) in told
        assert "around: str | None = None the name of a node or module call" in told
    assert works("formats", "dot", "html").stdout.count("of every format:") == 2
    assert fails("formats", "dott") == "there is no format 'dott': did you mean dot?"
