"""The command line."""

from recorder.cli.group import main

__all__ = ["main"]
