"""Options of formats: read off the exporter, checked, and made from text."""

from pathlib import Path
from typing import Any, Literal, Union

import pytest
from support.toy_formats import GRAPH, Failing, Toy, offering

from recorder import Graph, OptionError
from recorder.plugins.manager import Option, options_of, parse_options


def test_options_are_checked_before_the_exporter_runs(plugins):
    plugins.register(offering(Toy()), "mine")
    toy = plugins.named("toy")
    good = {"depth": 3, "direction": "LR", "legend": False}
    assert plugins.export(toy, GRAPH, good) == "toy 3 LR False"
    with pytest.raises(OptionError, match="format 'toy' has no option 'size'; its options are: depth: int") as error:
        plugins.export(toy, GRAPH, {"size": 1})
    assert "direction: Literal['TB', 'LR'] = 'TB'; legend: bool = True" in str(error.value)
    for bad in ({"depth": "3"}, {"depth": True}, {"depth": 1.0}, {"direction": "up"}, {"legend": 1}, {"legend": None}):
        (name,) = bad
        with pytest.raises(OptionError, match=f"format 'toy' takes {name}: .* and was given"):
            plugins.export(toy, GRAPH, bad)


def test_an_exporter_without_options_says_so(plugins):
    plugins.register(offering(Failing("text")), "mine")
    with pytest.raises(OptionError, match="its options are: none"):
        plugins.export(plugins.named("toy"), GRAPH, {"size": 1})


class Annotated(Toy):
    def export(
        self,
        graph: "Unknown",  # noqa: F821
        text: "str" = "a",
        *,
        size: "int | None" = None,
        mystery: "Unknown" = None,  # noqa: F821
        bare=None,
        many: list[str] | None = None,
    ):
        return ""


def test_annotations_are_resolved_each_by_itself(plugins):
    options = {option.name: option.type for option in options_of(Annotated())}
    assert options == {"text": str, "size": int | None, "mystery": Any, "bare": Any, "many": list[str] | None}
    plugins.register(offering(Annotated()), "mine")
    plugins.export(plugins.named("toy"), GRAPH, {"text": "b", "mystery": object(), "bare": 3, "many": ["a"]})
    with pytest.raises(OptionError, match=r"size: int \| None = None"):
        plugins.export(plugins.named("toy"), GRAPH, {"size": "large"})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "12", 12),
        (int, "-1", -1),
        (float, "0.5", 0.5),
        (float, "3", 3.0),
        (str, "12", "12"),
        (str, "", ""),
        (str, "none", "none"),
        (bool, "true", True),
        (bool, "Yes", True),
        (bool, "on", True),
        (bool, "1", True),
        (bool, "FALSE", False),
        (bool, "no", False),
        (bool, "off", False),
        (bool, "0", False),
        (int | None, "none", None),
        (int | None, "7", 7),
        (bool | None, "None", None),
        (str | int, "7", 7),
        (str | int, "seven", "seven"),
        (Union[str, None], "none", None),  # noqa: UP007
        (Literal["TB", "LR"], "LR", "LR"),
        (Literal["TB", "LR"], "lr", "LR"),
        (Literal["light", "Dark"] | None, "DARK", "Dark"),
        (Literal["auto"] | int, "Auto", "auto"),
        (Literal["auto"] | str, "Auto", "Auto"),
        (Literal["auto", 1, 2], "2", 2),
        (Literal["auto"] | int, "3", 3),
        (Literal["auto"] | None, "none", None),
        (Any, "3", "3"),
        (Path, "a/b", "a/b"),
        (list[str] | None, "a,b", "a,b"),
        (float | None, "1e-3", 0.001),
    ],
)
def test_a_text_becomes_a_value_of_the_option_s_type(kind, text, value):
    parsed = Option("x", kind, None).parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (int, "1.5", "x: int = None"),
        (int, "", "x: int = None"),
        (float, "wide", "x: float = None"),
        (bool, "maybe", "x: bool = None"),
        (int | None, "nothing", "x: int | None = None"),
        (Literal["TB", "LR"], "up", "x: Literal['TB', 'LR'] = None"),
    ],
)
def test_a_text_that_fits_no_type_is_an_error_that_names_the_valid_ones(kind, text, told):
    with pytest.raises(OptionError) as error:
        Option("x", kind, None).parse(text)
    assert str(error.value) == f"the option {told} cannot be {text!r}"


class Themed(Toy):
    def export(self, graph: Graph, *, theme: Literal["light", "dark"] = "light", name: str | None = None) -> str:
        return f"{theme} {name}"


def test_a_program_writes_words_in_any_letter_case_as_the_command_line_does(plugins):
    plugins.register(offering(Themed()), "mine")
    themed = plugins.named("toy")
    assert plugins.export(themed, GRAPH, {"theme": "Dark", "name": "Dark"}) == "dark Dark"
    assert plugins.export(themed, GRAPH, {"depth": "Auto"}) == "light None"


def test_a_word_that_is_nearly_right_is_told_shortly(plugins):
    plugins.register(offering(Themed()), "mine")
    told = "the option theme cannot be 'Drak': did you mean dark?"
    with pytest.raises(OptionError) as of_a_program:
        plugins.export(plugins.named("toy"), GRAPH, {"theme": "Drak"})
    with pytest.raises(OptionError) as of_a_text:
        parse_options([Themed()], {"theme": "Drak"})
    assert str(of_a_program.value) == str(of_a_text.value) == told


def test_each_exporter_gets_the_options_that_it_takes():
    texts = {"depth": "2", "text": "b"}
    assert parse_options([Toy(), Annotated(), Failing("")], texts) == [
        {"depth": 2},
        {"depth": 2, "text": "b"},
        {"depth": 2},
    ]
    plain = Failing("")
    plain.name = "plain"
    with pytest.raises(OptionError, match=r"'toy' has no option 'size'; its options are: depth.*; the format 'plain'"):
        parse_options([Toy(), plain], {"size": "2"})
    with pytest.raises(OptionError, match="no format is written"):
        parse_options([], {"size": "2"})


class Mapped(Toy):
    def export(self, graph: Graph, *, names: dict[str, str] | None = None) -> str:
        return f"{names}"


def test_a_mapping_is_written_as_json_on_the_command_line():
    (parsed,) = parse_options([Mapped()], {"names": '{"conv*": "the first"}'})
    assert parsed == {"names": {"conv*": "the first"}}
    assert parse_options([Mapped()], {"names": "none"}) == [{"names": None}]
    for wrong in ('{"conv": 3}', "conv=3", "[]"):
        with pytest.raises(OptionError, match=r"names: dict\[str, str\] \| None = None cannot be"):
            parse_options([Mapped()], {"names": wrong})
