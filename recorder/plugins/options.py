"""The options of exporters: those that each declares in the signature of its ``export``, and those that all have.

What all have chooses the view of the graph that an exporter is given, so that no exporter has to know of views. One
that declares an option of such a name itself gets it, and does with it what it likes.
"""

import contextlib
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec

from recorder.errors import OptionError, did_you_mean
from recorder.graph.core import Graph
from recorder.plugins.hookspecs import Exporter
from recorder.views.view_options import arranged

__all__ = ["VIEW_OPTIONS", "Option", "options_of", "parse_options", "viewed"]


class Option(typing.NamedTuple):
    """One option of an exporter. ``type`` is its annotation, Any where there is none that can be evaluated; ``about``
    is what the documentation says of it.
    """

    name: str
    type: Any
    default: Any
    about: str = ""

    @property
    def parts(self) -> tuple[Any, ...]:
        """The alternatives of its type: those of a union, or the type itself."""
        union = typing.get_origin(self.type) in (typing.Union, types.UnionType)
        return typing.get_args(self.type) if union else (self.type,)

    def describe(self) -> str:
        """As in a signature: ``depth: int | None = None``."""
        return f"{self.name}: {' | '.join(map(_written, self.parts))} = {self.default!r}"

    def parse(self, text: str) -> Any:
        """The value that a text from the command line stands for, by this option's type.

        ``true yes on 1`` and ``false no off 0`` are bool, ``none`` is None; letter case does not matter there. Of a
        union, the first part that fits is taken, str last. A dict is written as JSON: ``{"conv1": "first"}``. A type
        that is none of these takes the text as it is.

        Raises:
            OptionError: the text fits no part of the type; says what does.
        """
        text = self.spelt(text)
        for kind in sorted(self.parts, key=lambda kind: kind in (str, Any)):
            try:
                return _parse(text, kind)
            except (msgspec.ValidationError, msgspec.DecodeError):
                continue
        raise OptionError(f"the option {self._meant(text) or f'{self.describe()} cannot be {text!r}'}")

    def check(self, value: Any, format: str) -> Any:
        """The value that a program gave for this option: itself, or the word that it is in another letter case.

        Raises:
            OptionError: it is of no part of the type; names the ``format``.
        """
        value = self.spelt(value)
        if any(_is_a(value, kind) for kind in self.parts):
            return value
        told = self._meant(value)
        raise OptionError(
            f"the option {told}" if told else f"the format {format!r} takes {self.describe()}, and was given {value!r}"
        )

    @property
    def words(self) -> list[str]:
        """The words that its type lists."""
        literals = [kind for kind in self.parts if typing.get_origin(kind) is typing.Literal]
        return [word for kind in literals for word in typing.get_args(kind) if isinstance(word, str)]

    def spelt(self, value: Any) -> Any:
        """A value as this option writes it, if it is one of its words in another letter case; else as it was given:
        a type that also takes any text is not guessed at.
        """
        if not isinstance(value, str) or str in self.parts:
            return value
        return next((word for word in self.words if word.casefold() == value.casefold()), value)

    def _meant(self, value: Any) -> str:
        """The short end of a message where a word that is nearly right says enough; nothing where none is."""
        near = did_you_mean(value.casefold(), self.words) if isinstance(value, str) else ""
        return f"{self.name} cannot be {value!r}{near}" if near else ""


def options_of(exporter: Exporter) -> tuple[Option, ...]:
    """What an exporter takes besides the graph, read off its signature, and what its documentation says of it."""
    names = getattr(exporter.export, "__globals__", {})
    told = _about(exporter)
    return tuple(
        Option(p.name, _evaluated(p.annotation, names), p.default, told.get(p.name, ""))
        for p in list(inspect.signature(exporter.export).parameters.values())[1:]
        if p.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    )


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    """An annotation with its strings resolved: each by itself, since another one of the same function may make sense
    to type checkers only. What cannot be resolved loses the check of its type.
    """
    if annotation is inspect.Parameter.empty:
        return Any
    try:
        return typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": annotation}), names)["it"]
    except Exception:
        return Any


def _of_views() -> tuple[Option, ...]:
    parameters = inspect.signature(arranged).parameters.values()
    told = _arguments_in(inspect.getdoc(arranged) or "", "Args:")
    return tuple(
        Option(p.name, p.annotation, p.default, told.get(p.name, "")) for p in parameters if p.kind is p.KEYWORD_ONLY
    )


def _about(exporter: Exporter) -> dict[str, str]:
    """What is said of options under ``Args:`` of ``export``, and under ``Options of `export`:`` of its class; if that
    refers to another class, ``those of `package.module.Class```, what is said there, too.
    """
    documentation = inspect.getdoc(type(exporter)) or ""
    told: dict[str, str] = {}
    if found := re.search(r"^Options of `export`: those of `([\w.]+)\.(\w+)`", documentation, re.MULTILINE):
        with contextlib.suppress(Exception):  # a plugin may refer to what is not there
            told |= _about(getattr(import_module(found[1]), found[2])())
    told |= _arguments_in(documentation, "Options of `export`:.*")
    return told | _arguments_in(inspect.getdoc(exporter.export) or "", "Args:")


def _arguments_in(documentation: str, heading: str) -> dict[str, str]:
    """What a docstring says below a heading, by the argument's name, each without line ends."""
    begin = re.search(rf"(?:^|\n){heading}\n", documentation)
    section = "" if begin is None else documentation[begin.end() :].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


VIEW_OPTIONS = _of_views()
"""What every format takes: the options of `recorder.views.view_options.arranged`."""


def viewed(exporter: Exporter, graph: Graph, options: Mapping[str, Any]) -> tuple[Graph, dict[str, Any]]:
    """The view that options ask for, and those options that are the exporter's own.

    Raises:
        OptionError: an option is unknown or of the wrong type, or there is no such view.
    """
    known = _known(exporter)
    options = _renamed(options, known)
    for name in options:
        if name not in known:
            raise OptionError(_unknown(exporter, name))
    options = {name: known[name].check(value, exporter.name) for name, value in options.items()}
    own = {option.name for option in options_of(exporter)}
    asked = {name: value for name, value in options.items() if name not in own}
    given = {name: value for name, value in options.items() if name in own}
    room = None if "depth" in own else getattr(exporter, "room", None)
    try:
        return arranged(graph, room, **asked), given
    except ValueError as error:
        raise OptionError(str(error)) from error


def parse_options(exporters: Sequence[Exporter], texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Options given as text, converted for each exporter in turn, which gets those that it takes.

    Raises:
        OptionError: no exporter takes an option, or its text does not fit; lists what each takes.
    """
    known = list(map(_known, exporters))
    texts = _renamed(texts, {name: option for options in known for name, option in options.items()})
    for name in texts:
        if not any(name in options for options in known):
            told = dict.fromkeys(_unknown(exporter, name) for exporter in exporters)
            raise OptionError("; ".join(told) or f"no format is written that could take the option {name!r}")
    return [{n: options[n].parse(text) for n, text in texts.items() if n in options} for options in known]


def _known(exporter: Exporter) -> dict[str, Option]:
    return {option.name: option for option in (*VIEW_OPTIONS, *options_of(exporter))}


def _unknown(exporter: Exporter, name: str) -> str:
    known = _known(exporter)
    near = did_you_mean(name, known)
    options = options_of(exporter)
    few = "; ".join(option.describe() for option in options) if len(options) <= _FEW else ""
    own = few or ", ".join(option.name for option in options) or "none"
    told = near or f"; its options are: {own}; and those of every format: {', '.join(_of_all(exporter))}"
    return f"the format {exporter.name!r} has no option {name!r}{told}"


_FEW = 3
"""So many options are told with their types in a message."""


def _of_all(exporter: Exporter) -> list[str]:
    own = {option.name for option in options_of(exporter)}
    return [option.name for option in VIEW_OPTIONS if option.name not in own]


def _renamed(options: Mapping[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
    """Options by their names as they are spelt here: ``color_by`` is ``colour_by``."""
    renamed: dict[str, Any] = {}
    for name, value in options.items():
        ours = name.replace("color", "colour")
        ours = ours if ours in known and name not in known else name
        if ours in renamed:
            raise OptionError(f"the option {ours!r} is given twice, in two spellings")
        renamed[ours] = value
    return renamed


def _written(kind: Any) -> str:
    """One part of a type as people write it."""
    if kind is type(None):
        return "None"
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind).replace("typing.", "")


def _is_a(value: object, kind: Any) -> bool:
    """Whether a value is of one part of a type. What is neither a class nor a Literal is left to the exporter."""
    if typing.get_origin(kind) is typing.Literal:
        return any(type(value) is type(one) and value == one for one in typing.get_args(kind))
    if typing.get_origin(kind) is dict:
        return isinstance(value, Mapping)
    if kind is None:
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind) if isinstance(kind, type) and kind is not Any else True


_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false", "none": "null"}
"""What people write for what msgspec takes for a bool or None."""


def _parse(text: str, kind: Any) -> Any:
    """A text as one part of a type; raises msgspec.ValidationError if it is none."""
    if kind in (bool, None, type(None)):
        return msgspec.convert(_WORDS.get(text.lower(), text), kind, strict=False)
    if typing.get_origin(kind) is dict:
        return msgspec.json.decode(text, type=kind)
    plain = kind in (int, float) or typing.get_origin(kind) is typing.Literal
    return msgspec.convert(text, kind, strict=False) if plain else text
