"""The exporters that come with graph-recorder, one format a file. They know no torch, and of the core only its
public names: each is written as a third party would write it."""

from recorder import hookimpl
from recorder.hookspecs import Register

__all__ = ["recorder_register_exporters"]


@hookimpl
def recorder_register_exporters(register: Register) -> None:
    """Offer everything below. Exporters import their libraries when they are used, not here."""
