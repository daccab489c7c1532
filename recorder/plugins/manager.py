"""A small typed facade over pluggy: who is installed, and what they offer.

A new `Plugins` finds every distribution with an entry point in the group ``recorder``, each on its own: one that fails
to import or to register is left out with a warning that names it, and the others go on.
"""

import inspect
import os
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

import pluggy

from recorder.errors import FormatError, PluginError, RecorderError, describe_error, did_you_mean
from recorder.events.types import Event
from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph
from recorder.plugins.hookspecs import PROJECT, Exporter, Hooks, Sink
from recorder.plugins.options import Option, options_of, parse_options, viewed

__all__ = ["Format", "Option", "Plugins", "installed", "options_of", "parse_options"]

BLOCK_VARIABLE = "RECORDER_BLOCK_PLUGINS"
"""The environment variable with the names of entry points that are not to be loaded, separated by commas."""

FAILURES = (Exception, SystemExit)
"""What a plugin may raise without harm to others: one that calls ``sys.exit`` does not end the run of the user's."""

FIRST = "builtin"
"""The entry point that is loaded before all others, so that none of them can take a name or a suffix of its formats."""


class Format(NamedTuple):
    """An installed exporter: how to name it, and what it takes.

    ``suffixes`` are those that pick it by a file's name, ``plugin`` is the entry point that brought it, and
    ``summary`` the first line of its documentation.
    """

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

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(Hooks)
        self._exporters: dict[str, tuple[Exporter, str]] = {}
        self._by_suffix: dict[str, Exporter] = {}
        self._left_out: dict[str, str] = {}
        blocked = {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")}
        found = entry_points(group=PROJECT) if entries is None else entries
        for entry in sorted(found, key=lambda entry: (entry.name != FIRST, entry.name, entry.value)):
            if entry.name in blocked:
                self._left_out[entry.name] = f"blocked by {BLOCK_VARIABLE}"
            else:
                self._load(entry)

    def _load(self, entry: EntryPoint) -> None:
        try:
            self.register(entry.load(), entry.name)
        except FAILURES as error:
            reason = str(error) if isinstance(error, PluginError) else describe_error(error)
            self._left_out[entry.name] = reason
            warnings.warn(
                f"the plugin {entry.name!r} ({entry.value}) is left out: {reason}", RuntimeWarning, stacklevel=3
            )

    def register(self, plugin: object, name: str) -> None:
        """Add one plugin, and the exporters that it offers: all of it, or nothing.

        A suffix that another exporter has already stays with that one; the new one is then picked by name only.

        Raises:
            PluginError: it failed, has a hook that does not exist, or offers a format that is taken; the message names
                it, and the other plugin if there is one.
        """
        if self._manager.has_plugin(name):
            raise PluginError(f"two plugins are named {name!r}: {self._manager.get_plugin(name)!r} and {plugin!r}")
        other = self._manager.get_name(plugin)
        if other is not None:
            raise PluginError(f"the plugins {other!r} and {name!r} are one and the same object, {plugin!r}")
        offered: dict[str, Exporter] = {}

        def offer(exporter: Exporter) -> None:
            _check_exporter(exporter, name)
            other = name if exporter.name in offered else self._exporters.get(exporter.name, (None, None))[1]
            if other is not None:
                raise PluginError(f"the plugins {other!r} and {name!r} both register a format {exporter.name!r}")
            offered[exporter.name] = exporter

        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()  # a misspelt hook would otherwise never be called, in silence
            for caller in self._manager.get_hookcallers(plugin) or ():
                if any(hook.plugin is plugin and (hook.wrapper or hook.hookwrapper) for hook in caller.get_hookimpls()):
                    raise PluginError(f"the plugin {name!r} wraps {caller.name}: hooks cannot be wrapped here")
            for hook in self._implementations("recorder_register_exporters"):
                if hook.plugin is plugin:
                    _call(hook, {"register": offer})
        except FAILURES as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(plugin)
            if isinstance(error, PluginError):
                raise
            raise PluginError(f"the plugin {name!r} failed to register: {describe_error(error)}") from error
        for exporter in offered.values():
            self._exporters[exporter.name] = (exporter, name)
            for suffix in exporter.suffixes:
                self._by_suffix.setdefault(suffix.lower(), exporter)

    def formats(self) -> list[Format]:
        """Every installed format, by name."""
        return [
            Format(
                exporter.name,
                tuple(s for s in exporter.suffixes if self._by_suffix[s.lower()] is exporter),
                exporter.media_type,
                options_of(exporter),
                plugin,
                (inspect.getdoc(exporter) or "").partition("\n")[0],
            )
            for _, (exporter, plugin) in sorted(self._exporters.items())
        ]

    def named(self, name: str) -> Exporter:
        """The exporter of that name, in upper or lower case.

        Raises:
            FormatError: there is none; says what there is that is called alike, or all that there is.
        """
        if name in self._exporters:
            return self._exporters[name][0]
        for other, (exporter, _) in self._exporters.items():
            if other.lower() == name.lower():
                return exporter
        near = did_you_mean(name.lower(), self._exporters)
        told = near + self._missing() if near else f"; installed are: {self._listed(self._exporters)}"
        raise FormatError(f"there is no format {name!r}{told}")

    def for_file(self, file_name: str) -> Exporter:
        """The exporter whose suffix ends this file name; the longest one wins, so ``.onnx.json`` beats ``.json``.

        Raises:
            FormatError: no suffix fits; lists what there is.
        """
        fitting = [suffix for suffix in self._by_suffix if file_name.lower().endswith(suffix)]
        if not fitting:
            ending = f".{file_name.lower().rpartition('.')[2]}"
            near = did_you_mean(ending, self._by_suffix)
            told = near + self._missing() if near else f"; known suffixes are: {self._listed(self._by_suffix)}"
            raise FormatError(f"no installed format writes {file_name!r}{told}")
        return self._by_suffix[max(fitting, key=len)]

    def _listed(self, names: Iterable[str]) -> str:
        """What there is, and, since that is what people ask next, what there could have been."""
        return (", ".join(sorted(names)) or "none") + self._missing()

    def _missing(self) -> str:
        return "".join(f"; left out is the plugin {name!r}: {why}" for name, why in self._left_out.items())

    def export(self, exporter: Exporter, graph: Graph, options: Mapping[str, Any]) -> str | bytes:
        """Run one exporter on the view that the options ask for, after checking them.

        Raises:
            OptionError: an option is unknown, of the wrong type, or cannot be met.
            PluginError: the exporter raised something that is not a `RecorderError`, or returned no text or bytes.
        """
        graph, own = viewed(exporter, graph, options)
        plugin = self._exporters.get(exporter.name, (exporter, type(exporter).__module__))[1]
        try:
            with collector_held_back():
                result = exporter.export(graph, **own)
        except RecorderError:
            raise
        except FAILURES as error:
            raise PluginError(
                f"the exporter {exporter.name!r} of the plugin {plugin!r} failed: {describe_error(error)}"
            ) from error
        if not isinstance(result, str | bytes):
            raise PluginError(
                f"the exporter {exporter.name!r} of the plugin {plugin!r} returned {type(result).__name__}, "
                "which is neither str nor bytes"
            )
        return result

    def open_sinks(self, recorder: Any) -> list[Sink]:
        """Ask every plugin whether it wants this recording's events.

        A sink that raises is warned about by its plugin's name, and gets no further event of this recording.
        """
        sinks = []
        for plugin, sink in self._ask("recorder_open_sink", recorder=recorder):
            if callable(sink):
                sinks.append(_guarded(sink, plugin))
            elif sink is not None:
                warnings.warn(
                    f"the plugin {plugin!r} returned {_shown(sink)} in recorder_open_sink: neither a callable nor None",
                    RuntimeWarning,
                    stacklevel=3,
                )
        return sinks

    def annotate(self, graph: Graph) -> None:
        """Let every plugin add its facts to a graph."""
        self._ask("recorder_annotate_graph", graph=graph)

    def register_commands(self, cli: Any) -> None:
        """Let every plugin add its commands."""
        self._ask("recorder_register_commands", cli=cli)

    def _ask(self, hook_name: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call one hook plugin by plugin, so that one that raises is named and keeps no other from its turn."""
        answers = []
        for hook in self._implementations(hook_name):
            try:
                answers.append((hook.plugin_name, _call(hook, arguments)))
            except FAILURES as error:
                warnings.warn(
                    f"the plugin {hook.plugin_name!r} raised in {hook_name}: {describe_error(error)}",
                    RuntimeWarning,
                    stacklevel=4,
                )
        return answers

    def _implementations(self, hook_name: str) -> list[pluggy.HookImpl]:
        """Those of every plugin, in the order in which the plugins were registered, but for ``tryfirst`` and
        ``trylast``.
        """
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook_name)
        return sorted(caller.get_hookimpls(), key=lambda hook: hook.trylast - hook.tryfirst)


@cache
def installed() -> Plugins:
    """The plugins of this process, found once, on first use."""
    return Plugins()


def _call(hook: pluggy.HookImpl, arguments: Mapping[str, Any]) -> Any:
    """Call one implementation with as many of the hook's arguments as it names, as pluggy would."""
    return hook.function(*(arguments[name] for name in hook.argnames))


def _guarded(sink: Sink, plugin: str) -> Sink:
    failed = False

    def guarded(event: Event) -> None:
        nonlocal failed
        if not failed:
            try:
                sink(event)
            except FAILURES as error:
                failed = True
                warnings.warn(
                    f"the sink of the plugin {plugin!r} raised, and gets no more events: {describe_error(error)}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    return guarded


def _shown(value: object) -> str:
    """A plugin's object in a message, even where it cannot be shown."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _check_exporter(exporter: Exporter, plugin: str) -> None:
    if isinstance(exporter, type):
        raise PluginError(
            f"the plugin {plugin!r} registers the class {exporter.__name__}: it is to register an instance, "
            f"{exporter.__name__}()"
        )
    if not isinstance(exporter, Exporter) or not isinstance(exporter.name, str) or not callable(exporter.export):
        raise PluginError(
            f"the plugin {plugin!r} registers {_shown(exporter)}, which is no exporter: "
            "it needs name, suffixes, media_type and export(graph)"
        )
    suffixes: object = exporter.suffixes
    if not isinstance(suffixes, tuple | list) or not all(isinstance(s, str) and s[:1] == "." for s in suffixes):
        raise PluginError(
            f"the format {exporter.name!r} of the plugin {plugin!r} has the suffixes {suffixes!r}: "
            'they are a tuple of endings with the dot, such as (".dot",)'
        )
    try:
        inspect.signature(exporter.export).bind(None)
    except TypeError as error:
        raise PluginError(
            f"the format {exporter.name!r} of the plugin {plugin!r} cannot be called as export(graph): {error}"
        ) from error
