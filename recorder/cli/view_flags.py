"""A flag of the command line for each option that every format has, with the help that its documentation gives."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import click

from recorder.plugins.options import VIEW_OPTIONS, Option

__all__ = ["view_flags"]


NONE = {"depth": "all"}
"""How None is written for an option for which ``none`` would say the opposite."""


def view_flags() -> Iterator[Callable[[Any], Any]]:
    """What gives a command these flags, one decorator each. A flag that is not given is None, and any other a text that
    its option can parse, or a bool.
    """
    for option in VIEW_OPTIONS:
        name = option.name.replace("_", "-")
        if bool in option.parts:
            yield click.option(f"--{name}/--no-{name}", default=None, help=_help(option))
        else:
            yield click.option(f"--{name}", metavar=_metavar(option), callback=_parsable, help=_help(option))


def _parsable(_: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    return "none" if text and text.lower() == NONE.get(parameter.name or "") else text


def _metavar(option: Option) -> str:
    """What may be written for an option, as in ``N|auto|all``."""
    words: list[str] = []
    for kind in option.parts:
        if get_origin(kind) is Literal:
            words += map(str, get_args(kind))
        elif kind is not type(None):
            words.append({int: "N", str: "TEXT"}[kind])
        elif option.default is not None:  # else it says what leaving the flag out says
            words.append(NONE.get(option.name, "none"))
    return "|".join(words)


def _help(option: Option) -> str:
    """Its documentation, in the words of the command line."""
    text = re.sub(r"``\"?(.*?)\"?``", r"\1", option.about).replace("None", NONE.get(option.name, "none"))
    default = "" if option.default is None else f"  [default: {option.default}]"
    return text[:1].upper() + text[1:] + default
