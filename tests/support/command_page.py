"""`docs/command-line.md`, from the command line: ``PYTHONPATH=tests python -m support.command_page`` writes it."""

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from recorder.cli import main
from recorder.plugins.manager import Format, installed
from recorder.plugins.options import VIEW_OPTIONS, Option

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "command-line.md"

BEGIN = """\
# Command line

<!-- made by tests/support/command_page.py, from docstrings: a test holds it to them -->

Results go to stdout; progress, warnings and errors to stderr. The exit status is 0, or 1 if something failed on the
way, such as the model, or 2 if what was asked for cannot be; that of `recorder run` is the script's. `python -m
recorder` is the same program.

## What a model is called with

Each `--input` is one argument, by its position or, as `NAME=VALUE`, by its name:

| VALUE | is |
|---|---|
| `1,3,224,224` | a random tensor of this shape, drawn from the normal distribution |
| `1,3,224,224:bfloat16` | of this dtype; `:int64` and other whole numbers are 0 or 1, valid as indices everywhere |
| `1,16:int64<100` | whole numbers from 0 on, below 100; `1,16<100` is the same |
| `3,64,64:float32<1` | evenly from 0 to 1 |
| `()` | one number, of no dimension: `():int64<10` |
| `[[0,0,8,8]]:float32` | a tensor of these numbers |
| `[3,64,64; 3,80,80]` | a list; `(…; …)` is a tuple |
| `{ids: 1,16:int64<100; mask: 1,16:bool}` | a dict |
| `"eval"`, `true`, `null`, `{"a": "b"}` | JSON, of what is no shape; `scale=0.5` too |
| `NAME:=3` | JSON, whatever it looks like: the number 3, and not a tensor of 3 |

    recorder record mynet.py:Net --input 'batch={ids: 2,16:int64<100; mask: 2,16:bool}' --input 'mode="eval"'
    recorder record torchvision.models.detection:fasterrcnn_resnet50_fpn --input '[3,64,64; 3,80,80]'
    recorder record transformers:bert --config '{"hidden_size": 64, "num_attention_heads": 4}'
    recorder run train.py --epochs 2 -o net.html
"""


def page() -> str:
    """The page as it is to be."""
    lines = [BEGIN]
    for name, command in main.commands.items():
        if command.callback is not None and command.callback.__module__.startswith("recorder.cli"):
            lines += _command(f"recorder {name}", command)
            if isinstance(command, click.Group):
                for inner, part in command.commands.items():
                    lines += _command(f"recorder {name} {inner}", part)
    lines += ["# Formats", "", "What `--option KEY=VALUE` may say, or a keyword argument of `recorder.save`.", ""]
    lines += ["## Of every format", "", *_options(VIEW_OPTIONS), ""]
    for format_ in installed().formats():
        if format_.plugin == "builtin":
            lines += _format(format_)
    return "\n".join(lines).rstrip() + "\n"


def _command(name: str, command: click.Command) -> Iterator[str]:
    ctx = click.Context(command, info_name=name, terminal_width=1000, max_content_width=1000)
    yield from (f"## {name}", "", f"    {' '.join([name, *command.collect_usage_pieces(ctx)])}", "")
    yield from (_prose(re.sub(r"(?<!\n)\n(?!\n)", " ", cleandoc(command.help or ""))), "")
    for parameter in command.params:
        record = parameter.get_help_record(ctx)
        if record is not None and isinstance(parameter, click.Option):
            yield f"- `{record[0]}`: {_prose(' '.join(record[1].split()))}"
    yield ""


def _format(format_: Format) -> Iterator[str]:
    suffixes = " ".join(f"`{suffix}`" for suffix in format_.suffixes)
    yield from (f"## {format_.name}", "", f"{format_.summary} {suffixes}", "", *_options(format_.options), "")


def _options(options: tuple[Option, ...]) -> Iterator[str]:
    for option in options:
        yield f"- `{option.describe()}`: {_prose(re.sub('``+', '`', option.about))}"


def _prose(text: str) -> str:
    """Text in which nothing but code is Markdown."""
    parts = text.split("`")
    return "`".join(re.sub(r"([\[\]<>*_])", r"\\\1", part) if n % 2 == 0 else part for n, part in enumerate(parts))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
