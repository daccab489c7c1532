"""What stands behind the promises, in figures: ``make reliability`` runs this.

Each section tries one promise out and returns a line for the report. Those that run test files count what passed; a
promise with tests of its own plugs in by one line in `SECTIONS`. The lines stand in docs/reliability.md as printed.
"""

import gc
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import click
import torch

# Run as a file, so that the modules beside this one are found as the tests find them.
from support.untouched import ASPECTS, compare, ways
from support.zoo import CLASSIFIERS, ZOO

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "reliability.md"

Section = Callable[[], tuple[bool, str]]
"""Whether all went well, and the line that says so."""


def models(names: Iterable[str] = tuple(ZOO)) -> tuple[bool, str]:
    """Every model beside itself, recorded. A difference is told on standard error as it is found."""
    tried = same = 0
    names = tuple(names)
    for name in names:
        for training in (True, False):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = compare(ZOO[name], training, ways(name))
            gc.collect()
            for way, changed in found.items():
                tried += 1
                same += not changed
                if changed:
                    click.echo(f"{name}, {'train' if training else 'eval'}, {way}: {', '.join(changed)}", err=True)
    classifiers = sum(name in CLASSIFIERS for name in names)
    return same == tried, (
        f"{classifiers} classifiers of torchvision and {len(names) - classifiers} others, in train and in eval: "
        f"{same} of {tried} recorded runs the same as unrecorded"
    )


def compared() -> tuple[bool, str]:
    """What the runs were compared in."""
    return True, ", ".join(ASPECTS)


def glob(pattern: str) -> list[str]:
    """The test files of this pattern."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


def passed(*arguments: str) -> tuple[bool, str]:
    """Run pytest, on test files mostly, and count. A test that skips has not passed."""
    report = ROOT / ".make" / "reliability.xml"
    command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not report.exists():
        return False, f"did not run: {done.stderr.strip()[-200:]}"
    suite = ElementTree.parse(report).getroot()[0].attrib
    report.unlink()
    tests = int(suite["tests"])
    good = tests - sum(int(suite[kind]) for kind in ("failures", "errors", "skipped"))
    if done.returncode:
        click.echo(done.stdout, err=True)
    return done.returncode == 0, f"{good} passed of {tests}"


RUNS = 500_000
"""Inputs for the fuzzers."""


def fuzzed() -> tuple[bool, str]:
    """Recordings, graphs and labels that strangers might send, made by the fuzzers."""
    command = [sys.executable, "-m", "tests.fuzz", "--runs", str(RUNS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        click.echo(done.stdout + done.stderr, err=True)
    return done.returncode == 0, "; ".join(done.stdout.splitlines())


RUN = [f"tests/promises/test_{what}.py" for what in ("faults", "interrupts", "finalizers")]
"""What may go wrong with the run."""

PLUGINS = [f"tests/plugins/test_{what}.py" for what in ("manager", "hooks", "options", "installed_plugins")]
"""What plugins may do wrong without harm to the run."""

SECTIONS: dict[str, Section] = {
    "models": models,
    "compared": compared,
    "fused kernels": partial(passed, "tests/promises/test_untouched.py", "-k", "fused or takes_the_path"),
    "hooks and modes of the user": partial(passed, "tests/capture/test_user_hooks.py"),
    "memory": partial(passed, "tests/promises/test_memory.py"),
    "what works with what": partial(passed, *glob("tests/supported/test_*.py")),
    "faults": partial(passed, *RUN, *PLUGINS),
    "faults of our own": partial(passed, "tests/promises/test_guard.py"),
    "several recorders": partial(passed, "tests/capture/test_several_recorders.py"),
    "long and killed runs": partial(passed, "tests/events/test_store.py"),
    "hostile files and names": partial(passed, *glob("tests/promises/test_hostile_*.py")),
    "fuzzed": fuzzed,
}
"""By the name in the report, in its order."""


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(SECTIONS)), help="A section; may be repeated.")
@click.option("--write", is_flag=True, help="Put the lines into docs/reliability.md.")
def main(only: tuple[str, ...], write: bool) -> None:
    """Try out what is promised, and print the figures. Exits with 1 if something did not hold."""
    if write and only:
        raise click.UsageError("the report has every section: --write without --only")
    torch.set_num_threads(1)
    lines, good = [f"torch: {torch.__version__}"], True
    click.echo(lines[0])
    for name, section in SECTIONS.items():
        if not only or name in only:
            fine, line = section()
            good = good and fine
            lines.append(f"{name}: {line}")
            click.echo(lines[-1])
    if write:
        page = REPORT.read_text(encoding="utf-8")
        block = "\n".join(["```text", *lines, "```"])
        REPORT.write_text(re.sub(r"```text\n.*?```", lambda _: block, page, flags=re.DOTALL), encoding="utf-8")
    sys.exit(not good)


if __name__ == "__main__":
    main()
