"""Python's garbage collector, held back while many objects are made at once.

Each few hundred new objects it visits young ones, and now and then all of the program's: with torch loaded that is a
quarter of a second. Decoding, assembling, reading and writing make nothing that it could free, and took up to three
times as long with it.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collector_held_back"]


@contextmanager
def collector_held_back() -> Iterator[None]:
    """Reference counting goes on; only the search for cycles waits."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
