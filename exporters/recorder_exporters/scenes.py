"""What is drawn of a graph, before any format: for those who write drawings in a language of their own.

    scene = scene_of(graph, shown=fields(None, shapes=True), theme=THEMES["light"])

Which tensors have a box, what a box says and in which colour, how a view's folded blocks are told, and what its legend
explains, is decided once for all drawings: theirs then agree with ours. These names are as stable as `recorder`'s.
"""

from recorder_exporters.drawing.colour_scale import ColourBy
from recorder_exporters.drawing.fields import fields
from recorder_exporters.drawing.link_lines import LinkLine
from recorder_exporters.drawing.scene import Arrow, Box, Frame, Line, Part, Scene, scene_of
from recorder_exporters.drawing.styles import Style
from recorder_exporters.drawing.themes import THEMES, Theme, ThemeName
from recorder_exporters.drawing.words import legible, times

__all__ = [
    "THEMES",
    "Arrow",
    "Box",
    "ColourBy",
    "Frame",
    "Line",
    "LinkLine",
    "Part",
    "Scene",
    "Style",
    "Theme",
    "ThemeName",
    "fields",
    "legible",
    "scene_of",
    "times",
]
