"""A small typed facade over pluggy: who is installed, and what they offer.

A new `Plugins` finds every distribution with an entry point in the group ``recorder``, each on its own: one that fails
to import or to register is set aside with a warning that names it, and the others go on.
"""

import inspect
import os
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from recorder.errors import FormatError, OptionError, PluginError, RecorderError
from recorder.graph import Graph
from recorder.hookspecs import PROJECT, Exporter, Hooks, Sink

__all__ = ["Format", "Option", "Plugins", "installed"]

BLOCK_VARIABLE = "RECORDER_BLOCK_PLUGINS"
"""Names of entry points that are not to be loaded, separated by commas."""


class Option(typing.NamedTuple):
    """One keyword-only option of an exporter. ``type`` is its annotation."""

    name: str
    type: Any
    default: Any

    def describe(self) -> str:
        kind = self.type.__name__ if isinstance(self.type, type) else str(self.type).replace("typing.", "")
        return f"{self.name}: {kind} = {self.default!r}"


class Format(typing.NamedTuple):
    """An installed exporter: how to name it, and what it takes. ``plugin`` is the entry point that brought it."""

    name: str
    suffixes: tuple[str, ...]
    media_type: str
    options: tuple[Option, ...]
    plugin: str
    summary: str


class Plugins:
    """The plugins of one process. `installed` returns the shared instance; make your own to choose what is in it.

    Args:
        entries: entry points to load; all of the group ``recorder`` if None.
    """

    def __init__(self, entries: "typing.Iterable[EntryPoint] | None" = None) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._exporters: dict[str, tuple[Exporter, str]] = {}
        blocked = {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")}
        for entry in sorted(entry_points(group=PROJECT) if entries is None else entries, key=lambda e: e.name):
            if entry.name not in blocked:
                self._load(entry)

    def _load(self, entry: EntryPoint) -> None:
        try:
            self.register(entry.load(), entry.name)
        except PluginError as error:
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)
        except Exception as error:
            warnings.warn(
                f"the plugin {entry.name!r} ({entry.value}) could not be loaded, and is left out: "
                f"{type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )

    def register(self, plugin: object, name: str) -> None:
        """Add one plugin, and the exporters that it offers: all of it, or nothing.

        Raises:
            PluginError: it failed, or offers a format that is taken; the message names both sides.
        """
        offered: dict[str, tuple[Exporter, str]] = {}

        def offer(exporter: Exporter) -> None:
            _check_exporter(exporter, name)
            _, other = self._exporters.get(exporter.name) or offered.get(exporter.name) or (None, None)
            if other is not None:
                raise PluginError(f"the plugins {other!r} and {name!r} both register a format {exporter.name!r}")
            offered[exporter.name] = (exporter, name)

        try:
            self._manager.register(plugin, name)
            for implementation in self._manager.hook.recorder_register_exporters.get_hookimpls():
                if implementation.plugin is plugin:
                    implementation.function(offer)
        except Exception as error:
            if self._manager.has_plugin(name) and self._manager.get_plugin(name) is plugin:
                self._manager.unregister(plugin)
            if isinstance(error, PluginError):
                raise
            raise PluginError(f"the plugin {name!r} failed to register: {type(error).__name__}: {error}") from error
        self._exporters |= offered

    def formats(self) -> list[Format]:
        """Every installed format, by name."""
        return [
            Format(
                exporter.name,
                tuple(exporter.suffixes),
                exporter.media_type,
                _options(exporter),
                plugin,
                (inspect.getdoc(exporter) or "").partition("\n")[0],
            )
            for _, (exporter, plugin) in sorted(self._exporters.items())
        ]

    def named(self, name: str) -> Exporter:
        """The exporter of that name.

        Raises:
            FormatError: there is none; lists what there is.
        """
        if name not in self._exporters:
            raise FormatError(f"there is no format {name!r}; installed are: {', '.join(sorted(self._exporters))}")
        return self._exporters[name][0]

    def for_file(self, file_name: str) -> Exporter:
        """The exporter whose suffix ends this file name; the longest one wins, so ``.onnx.json`` beats ``.json``.

        Raises:
            FormatError: no suffix fits; lists what there is.
        """
        by_suffix = {s: exporter for exporter, _ in self._exporters.values() for s in exporter.suffixes}
        fitting = [s for s in by_suffix if file_name.lower().endswith(s)]
        if not fitting:
            raise FormatError(
                f"no installed format writes {file_name!r}; known suffixes are: {', '.join(sorted(by_suffix))}"
            )
        return by_suffix[max(fitting, key=len)]

    def export(self, exporter: Exporter, graph: Graph, options: Mapping[str, Any]) -> str | bytes:
        """Run one exporter, after checking its options.

        Raises:
            OptionError: an option is unknown or of the wrong type.
            PluginError: the exporter raised something that is not a `RecorderError`, or returned no text or bytes.
        """
        _check_options(exporter, options)
        plugin = self._exporters.get(exporter.name, (exporter, type(exporter).__module__))[1]
        try:
            result = exporter.export(graph, **options)
        except RecorderError:
            raise
        except Exception as error:
            raise PluginError(
                f"the exporter {exporter.name!r} of the plugin {plugin!r} failed: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(result, str | bytes):
            raise PluginError(
                f"the exporter {exporter.name!r} of the plugin {plugin!r} returned {type(result).__name__}, "
                "which is neither str nor bytes"
            )
        return result

    def open_sinks(self, recorder: Any) -> list[Sink]:
        """Ask every plugin whether it wants this recording's events."""
        return [sink for _, sink in self._each("recorder_open_sink", recorder=recorder) if sink is not None]

    def annotate(self, graph: Graph) -> None:
        """Let every plugin add its facts to a graph."""
        for _ in self._each("recorder_annotate_graph", graph=graph):
            pass

    def register_commands(self, cli: Any) -> None:
        """Let every plugin add its commands."""
        for _ in self._each("recorder_register_commands", cli=cli):
            pass

    def _each(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """Call one hook plugin by plugin, so that one that raises is named and keeps nobody else from his turn."""
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            call: Callable[..., Any] = implementation.function
            try:
                result = call(*(arguments[name] for name in implementation.argnames))
            except Exception as error:
                warnings.warn(
                    f"the plugin {implementation.plugin_name!r} raised in {hook}: {type(error).__name__}: {error}",
                    RuntimeWarning,
                    stacklevel=4,
                )
            else:
                yield implementation.plugin_name, result


@cache
def installed() -> Plugins:
    """The plugins of this process, found once, on first use."""
    return Plugins()


def _check_exporter(exporter: Exporter, plugin: str) -> None:
    if not isinstance(exporter, Exporter) or not isinstance(exporter.name, str) or not callable(exporter.export):
        raise PluginError(
            f"the plugin {plugin!r} registers {exporter!r}, which is no exporter: "
            "it needs name, suffixes, media_type and export(graph)"
        )
    if isinstance(exporter.suffixes, str) or not all(s.startswith(".") for s in exporter.suffixes):
        raise PluginError(
            f"the format {exporter.name!r} of the plugin {plugin!r} has the suffixes {exporter.suffixes!r}: "
            'they are a tuple of endings with the dot, such as (".dot",)'
        )


def _options(exporter: Exporter) -> tuple[Option, ...]:
    signature = inspect.signature(exporter.export)
    try:
        hints = typing.get_type_hints(exporter.export)
    except Exception:  # an annotation that cannot be evaluated only loses the check of types
        hints = {}
    return tuple(
        Option(p.name, hints.get(p.name, Any), p.default)
        for p in signature.parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    )


def _check_options(exporter: Exporter, given: Mapping[str, Any]) -> None:
    known = {option.name: option for option in _options(exporter)}
    for name, value in given.items():
        if name not in known:
            takes = "; ".join(option.describe() for option in known.values()) or "none"
            raise OptionError(f"the format {exporter.name!r} has no option {name!r}; its options are: {takes}")
        if not _is_a(value, known[name].type):
            raise OptionError(f"the format {exporter.name!r} takes {known[name].describe()}, and was given {value!r}")


def _is_a(value: object, annotation: Any) -> bool:
    """Whether a value fits a plain annotation: a class, a union, a Literal. Others are left to the exporter."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_is_a(value, part) for part in typing.get_args(annotation))
    if origin is typing.Literal:
        return value in typing.get_args(annotation)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation) if isinstance(annotation, type) else True
