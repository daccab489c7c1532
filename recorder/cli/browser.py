"""Where `recorder view` puts its page, and whether there is a browser to show it in."""

import os
import sys
import tempfile
import webbrowser
from pathlib import Path

__all__ = ["open_in_browser", "page_beside"]

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


def open_in_browser(page: Path) -> bool:
    """Show a file in the user's browser. False if there is none, or none with a window: a browser of letters would
    take the terminal, and could not show the page.
    """
    on_a_desktop = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    try:
        return on_a_desktop and webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False
