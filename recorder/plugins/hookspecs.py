"""What a plugin may do: the pluggy hooks, and the `Exporter` protocol.

A plugin is a module or object whose functions carry `hookimpl`, found through the entry-point group ``recorder``.
Hooks are asked when a recording starts or a graph is exported, never once per event. docs/hooks.md is the page for
authors: examples, what is stable, and how a hook is deprecated.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pluggy

from recorder.events.types import Event
from recorder.graph.core import Graph

if TYPE_CHECKING:
    import click

    from recorder.recorder import Recorder

__all__ = ["PROJECT", "Exporter", "Hooks", "Register", "Sink", "hookimpl", "hookspec"]

PROJECT = "recorder"
"""The name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
"""Marks what a plugin may implement; for this file."""

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's functions as implementations of hooks."""

Sink = Callable[[Event], None]
"""Gets each event once, in order, soon after it happened; never on the model's hot path."""


@runtime_checkable
class Exporter(Protocol):
    """Turns a graph into one format.

    ``export`` may take options as keyword arguments with defaults; their names, types and defaults are read off its
    signature and checked before it is called. Types that the command line can write are bool, int, float, str, None,
    Literal, and unions of them. It must be pure: the same graph gives the same text or bytes.

    Every exporter also takes the options that choose a view, such as ``depth`` and ``fold``: they are applied to the
    graph before it is called, unless its signature has an option of that name itself. One that draws for people to read
    may have an attribute ``room``, the number of nodes that it has room for; a larger graph is then folded and
    collapsed until it fits, where no options ask for another view.
    """

    @property
    def name(self) -> str:
        """What ``format=`` and the command line call it, for example ``"dot"``."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File name endings with the dot, for example ``(".dot", ".gv")``; the longest match wins, and of two
        exporters with the same one the first to be installed, of which the built-in ones are the very first.
        """

    @property
    def media_type(self) -> str:
        """The MIME type, for example ``"text/vnd.graphviz"``."""

    @property
    def export(self) -> Callable[..., str | bytes]:
        """``export(graph, **options)``; text is written as UTF-8."""


Register = Callable[[Exporter], None]
"""What a plugin calls with each of its exporters, in `Hooks.recorder_register_exporters`."""


class Hooks:
    """The hook specification. Every hook may be implemented by any number of plugins."""

    @hookspec
    def recorder_register_exporters(self, register: Register) -> None:
        """Offer exporters. Asked once, when plugins are looked for. Stable since 0.1.

        Args:
            register: call it once with each exporter object. A name that is taken is an error that names both plugins.
        """

    @hookspec
    def recorder_open_sink(self, recorder: "Recorder") -> Sink | None:
        """Follow a recording live. Asked once each time a `Recorder` is entered. Stable since 0.1.

        Args:
            recorder: the recorder that was entered; its ``events`` are still empty.

        Returns:
            A callable that gets each event, or None for not interested. One that raises is warned about, and gets no
            further event of this recording.
        """

    @hookspec
    def recorder_annotate_graph(self, graph: Graph) -> None:
        """Add facts to a graph that was just assembled from a recording. Stable since 0.1.

        Args:
            graph: write ``node.meta["<plugin>"]`` (JSON values only); change nothing else.
        """

    @hookspec
    def recorder_register_commands(self, cli: "click.Group") -> None:
        """Add subcommands to the ``recorder`` command. Asked once, when the command is run. Stable since 0.1.

        Args:
            cli: the click group; call ``cli.add_command`` or ``cli.command``. A name that is taken is an error.
        """
