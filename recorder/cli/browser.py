"""Where `recorder view` puts its page."""

import os
import tempfile
from pathlib import Path

__all__ = ["page_beside"]

GENERATOR = b'<meta name="generator" content="graph-recorder">'
"""Stands at the beginning of every page of ours."""


def page_beside(source: Path) -> Path:
    """A file for the page of a recording: beside it, with the same name. In a folder of its own among the temporary
    files if that place may not be written to, or holds a file that is no page of ours.
    """
    beside = source.with_suffix(".html")
    if os.access(source.parent, os.W_OK) and (not beside.exists() or _is_ours(beside)):
        return beside
    return Path(tempfile.mkdtemp(prefix="recorder-")) / beside.name


def _is_ours(page: Path) -> bool:
    try:
        with page.open("rb") as file:
            return GENERATOR in file.read(4096)
    except OSError:
        return False
