"""The command line, called in this process."""

from inspect import signature

from click.testing import CliRunner

__all__ = ["runner"]


def runner() -> CliRunner:
    """Keeps stdout and stderr apart, which click before 8.2 does only if it is told."""
    apart = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    return CliRunner(**apart)
