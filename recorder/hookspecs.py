"""The hooks of plugins under their public name: see `recorder.plugins.hookspecs`."""

from recorder.plugins.hookspecs import PROJECT, Exporter, Hooks, Register, Sink, hookimpl, hookspec

__all__ = ["PROJECT", "Exporter", "Hooks", "Register", "Sink", "hookimpl", "hookspec"]
