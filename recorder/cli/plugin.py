"""``recorder plugin new``: a distribution with an exporter of one's own, ready to be installed, tested and changed.

It is written from ``templates/plugin``. All names in it follow from the one that is asked for, and whatever would clash
later is refused before a file is written.
"""

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from importlib.util import find_spec
from pathlib import Path

import click

import recorder
from recorder.cli.outputs import STREAM_SUFFIX
from recorder.plugins.hookspecs import PROJECT
from recorder.plugins.manager import installed

__all__ = ["Names", "plugin", "render"]

DISTRIBUTION_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE | re.ASCII)
"""What the core metadata specification allows, and package indexes take."""

TEMPLATES = {
    "pyproject.toml": "pyproject.toml.jinja",
    "README.md": "README.md.jinja",
    "{module}.py": "exporter.py.jinja",
    "tests/test_{module}.py": "test_exporter.py.jinja",
}
"""Each file of the new folder, and what it is made from."""


@dataclass(frozen=True)
class Names:
    """Every name in a new distribution. For ``recorder-edge-list``: the module ``recorder_edge_list``, the class
    ``EdgeListExporter``, and the format ``edge-list`` with the suffix ``.edge-list``.
    """

    distribution: str

    @property
    def canonical(self) -> str:
        """As package indexes compare names."""
        return re.sub(r"[-_.]+", "-", self.distribution).lower()

    @property
    def module(self) -> str:
        return self.canonical.replace("-", "_")

    @property
    def format(self) -> str:
        return self.canonical.removeprefix(f"{PROJECT}-")

    @property
    def suffix(self) -> str:
        return f".{self.format}"

    @property
    def exporter(self) -> str:
        words = self.format if self.format[0].isalpha() else self.canonical
        return "".join(word.capitalize() for word in words.split("-")).removesuffix("Exporter") + "Exporter"


def problem(names: Names) -> str | None:
    """Why a distribution cannot have these names, if it cannot."""
    name, module = names.distribution, names.module
    if not DISTRIBUTION_NAME.fullmatch(name):
        return (
            f"{name!r} is no name of a distribution: it is to consist of ASCII letters, digits, '-', '_' and '.', "
            "and to begin and end with a letter or digit"
        )
    if not module.isidentifier() or keyword.iskeyword(module):
        return f"{name!r} would be imported as {module!r}, which is no name of a module"
    taken = _taken(names)
    return taken and f"the name {name!r} is taken: {taken}"


def _taken(names: Names) -> str | None:
    """By whom any of the names is taken in this environment."""
    if _is_installed(names.canonical):
        return "a distribution of that name is installed"
    if names.module in sys.stdlib_module_names or find_spec(names.module) is not None:
        return f"there is a module {names.module!r} already"
    if names.format in entry_points(group=PROJECT).names:
        return f"there is a plugin {names.format!r} already"
    for other in installed().formats():
        if names.format == other.name or names.suffix in other.suffixes:
            return f"the plugin {other.plugin!r} has a format {other.name!r} for {' '.join(other.suffixes)} already"
    if names.suffix == STREAM_SUFFIX:
        return f"{STREAM_SUFFIX} files are recordings"
    return None


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def render(names: Names) -> dict[str, str]:
    """The text of each file of the distribution, by its path in the new folder."""
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("recorder.cli", "templates/plugin"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # none of this is HTML, and the names are checked
    )
    return {
        path.format(module=names.module): templates.get_template(template).render(
            names=names, version=recorder.__version__
        )
        for path, template in TEMPLATES.items()
    }


@click.group(invoke_without_command=True)
@click.pass_context
def plugin(ctx: click.Context) -> None:
    """Write a plugin of your own."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@plugin.command()
@click.argument("name")
def new(name: str) -> None:
    """Write a distribution with an exporter into a new folder NAME.

    NAME is that of the distribution, for example recorder-edge-list, which has the format edge-list.
    """
    names, folder = Names(name), Path(name)
    if told := problem(names):
        raise click.UsageError(told)
    texts = render(names)
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise click.UsageError(f"there is a file or folder {name} already") from error
    except OSError as error:
        raise click.ClickException(f"{name} cannot be written: {error}") from error
    for path, text in texts.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", newline="\n")
        click.echo(f"wrote {folder / path}", err=True)
    click.echo(f"next: pip install --editable '{name}[test]' && pytest {name} && recorder formats", err=True)
