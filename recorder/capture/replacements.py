"""What modules hold while other tensors stand in the place of their parameters and buffers: see
`recorder.capture.functional_call`.
"""

from collections.abc import Iterator

from torch import nn

from recorder.capture.known_tensors import KnownTensors
from recorder.capture.modules import Modules
from recorder.capture.raw_records import Log, members_record

__all__ = ["replacements"]


def replacements(module: nn.Module, modules: Modules, known: KnownTensors) -> Iterator[Log]:
    """A record for each part of a module, itself included: what it holds now. Append each before the next is taken, and
    take them where no torch function mode is active.
    """
    for part in module.modules():
        entry = modules.entry(part)
        tensors = [*part.parameters(recurse=entry.leaf), *part.buffers(recurse=entry.leaf)]
        if tensors:
            if not entry.met:  # so that it is described before
                entry.met = True
                modules.met.append(entry)
            yield members_record(entry, [known.refer(tensor) for tensor in tensors])
