"""``recorder run``: a script as it is, and what the models in it did."""

import warnings
from typing import Any

import click

from recorder.cli.outputs import Target, output_flags, say, targets, write
from recorder.cli.reports import measure_flags, say_reports
from recorder.cli.script import Script, run_script
from recorder.errors import RecorderError
from recorder.summary import Summary

__all__ = ["run"]


def _steps(_: click.Context, __: click.Parameter, text: str | None) -> int | str | None:
    if text in (None, "all") or (text.isdecimal() and int(text) > 0):
        return text if text in (None, "all") else int(text)
    raise click.UsageError(f"--steps {text!r} is no number of steps: write 1 or more, or all")


class BeforeTheScript(click.Command):
    """What stands before the script is ours, and what follows is the script's. But for a tail that begins with -o, and
    holds nothing that is not ours, if no -o came before: so people write it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given, rest = self._options_in(args)
        if "outputs" not in given and args[len(args) - len(rest) :] == rest:
            before = args[: len(args) - len(rest)]
            for place in range(1, rest.index("--") if "--" in rest else len(rest)):
                if self._is_ours(rest[place:]):
                    return super().parse_args(ctx, [*before, *rest[place:], *rest[:place]])
        return super().parse_args(ctx, args)

    def _options_in(self, args: list[str]) -> tuple[set[str | None], list[str]]:
        """The names of the options that come first, and what follows."""
        command = click.Command(None, params=[p for p in self.params if isinstance(p, click.Option)])
        parser = command.make_parser(click.Context(command, allow_interspersed_args=False))
        _, rest, given = parser.parse_args([*args])
        return {parameter.name for parameter in given}, rest

    def _is_ours(self, tail: list[str]) -> bool:
        try:
            return tail[0].startswith(("-o", "--output")) and not self._options_in(tail)[1]
        except click.UsageError:
            return False


@click.command(cls=BeforeTheScript, context_settings={"allow_interspersed_args": False})
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@click.option("-m", "as_module", is_flag=True, help="SCRIPT is the name of a module, as for python -m.")
@click.option(
    "--module", "patterns", multiple=True, metavar="GLOB",
    help="Record the modules that the code calls so, or whose class is called so: critic, '*Encoder'. Else: the "
    "outermost ones that have parameters. Repeatable.",
)  # fmt: skip
@click.option(
    "--steps", callback=_steps, metavar="N|all",
    help="How many steps to record: a step is a call of the first model, with what follows until its next one. "
    " [default: 1; all with --every or --keep]",
)  # fmt: skip
@click.option("--every", type=click.IntRange(1), default=1, help="Record each so-many-th step alone.", metavar="N")
@click.option("--keep", type=click.IntRange(1), help="Keep the last so many of the recorded steps alone.", metavar="N")
@click.option("--functions/--no-functions", default=True, help="Record functions too, or module calls alone.")
@measure_flags
@output_flags
@click.pass_context
def run(
    ctx: click.Context,
    /,
    script: str,
    arguments: tuple[str, ...],
    as_module: bool,
    patterns: tuple[str, ...],
    steps: int | str | None,
    outputs: tuple[str, ...],
    format_name: str | None,
    options: tuple[str, ...],
    every: int,
    keep: int | None,
    functions: bool,
    gradients: str,
    values: str | None,
    **flags: str | bool | None,
) -> None:
    """Run SCRIPT with ARGS as it is, and write what the models in it did.

    It runs as under python: its arguments, its output, its errors and its exit status are its own, and what was
    recorded is written even if it fails. Options of ours stand before SCRIPT; -o FILE, and other options after it, may
    also stand at the very end. Without -o, a summary is printed on stderr. Its main thread is recorded, and no process
    that it starts.
    """
    wanted = targets(outputs, format_name, options, flags)
    if any(target.path is None for target in wanted):
        raise click.UsageError("stdout is the script's: say where the output goes, with -o FILE")
    prepared = Script(script, arguments, as_module)

    from recorder.cli.script_recorder import ScriptRecorder

    limit = 1 if steps is None and every == 1 and keep is None else None if steps in (None, "all") else int(steps)
    recorder = ScriptRecorder(
        patterns, limit, functions=functions, gradients=gradients, values=values, every=every, keep=keep
    )
    recorder.__enter__()
    try:
        status = run_script(prepared)
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # whatever the script wants of warnings, ours are no errors
            recorder.__exit__(None, None, None)
    _write(recorder, wanted, script, status, every, keep)
    ctx.exit(status)


def _write(recorder: Any, wanted: list[Target], script: str, status: int, every: int, keep: int | None) -> None:
    """Say what was recorded, and write it.

    Raises:
        click.ClickException: something could not be written, and the script itself did not fail.
    """
    found = recorder.found
    if not found.kinds:
        passed = ", ".join(kind.__name__ for kind in list(found.passed)[:5])
        told = f"nothing was recorded: {script} called no module to record in its main thread"
        told += f"; it called {passed}: choose with --module" if passed else ""
        if wanted and not status:
            raise click.ClickException(told)
        say(f"warning: {told}")
        return
    names = ", ".join(f"{name} ({kind.__name__})" for name, kind in found.kinds.items())
    more = "; the steps after that ran unrecorded: --steps N records more" if found.over else ""
    number = (found.calls - 1) // every + 1
    steps = f"{number} step{'s' if number > 1 else ''}"
    if keep is not None and number > keep:
        steps = f"the last {keep} of {steps}"
    try:
        events = recorder.events
        say(f"recorded {len(events)} events in {steps} of {names}{more}")
        if not wanted:
            click.echo(Summary(recorder.graph).to_text(), nl=False, err=True)
        say_reports(recorder.graph, asked=True)
        write(wanted, lambda: recorder.graph, events)
    except (click.ClickException, RecorderError) as error:
        if not status:
            raise
        say(f"Error: {error.format_message() if isinstance(error, click.ClickException) else error}")
