"""A user's script, run as Python runs it, while something else looks on.

What a script can see of how it was started is as without us: ``sys.argv``, ``sys.path[0]``, ``__main__``, the handling
of warnings. How it ends is told as Python tells it, and handed back.
"""

import contextlib
import importlib.util
import io
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

import click

from recorder.errors import describe_error

__all__ = ["Script", "run_script"]

_show_warning = warnings.showwarning
"""Python's own, before the command line has another one."""


class Script:
    """Something to run, found and compiled, and not begun.

    Args:
        name: a file's path; a module's name if ``as_module``, as for ``python -m``.
        arguments: what it is given.

    Raises:
        click.UsageError: there is no such thing, or it is no Python.
    """

    def __init__(self, name: str, arguments: Sequence[str], as_module: bool = False) -> None:
        self.module = ModuleType("__main__")
        self.folder = str(Path.cwd()) if as_module else str(Path(name).resolve().parent)
        self.code: CodeType = self._of_module(name) if as_module else self._of_file(name)
        file = self.module.__dict__.get("__file__") or name
        self.argv = [file if as_module else name, *arguments]

    def _of_file(self, name: str) -> CodeType:
        path = Path(name)
        if path.is_dir():
            path = path / "__main__.py"
            self.folder = str(path.resolve().parent)
        if not path.is_file():
            hint = f": to run a module, write -m {name}" if path.suffix != ".py" else ""
            raise click.UsageError(f"there is no file {name}{hint}")
        try:
            with io.open_code(str(path.resolve())) as file:
                code: CodeType = compile(file.read(), str(path.absolute()), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            told = f"{error.msg}, in line {error.lineno}" if isinstance(error, SyntaxError) else str(error)
            raise click.UsageError(f"{name} is no Python: {told}") from error
        self.module.__dict__.update(__file__=str(path.absolute()), __spec__=None, __package__=None, __cached__=None)
        return code

    def _of_module(self, name: str) -> CodeType:
        with self._on_path():
            try:
                spec = importlib.util.find_spec(name)
                if spec is not None and spec.submodule_search_locations is not None:
                    spec = importlib.util.find_spec(f"{name}.__main__")
                code = None if spec is None else spec.loader.get_code(spec.name)  # type: ignore[union-attr]
            except Exception as error:
                if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
                    raise click.UsageError(_no_module(name)) from error
                raise click.UsageError(
                    f"the module {name!r} cannot be run: {describe_error(error, first_line=True)}"
                ) from error
        if spec is None or not isinstance(code, CodeType):
            raise click.UsageError(_no_module(name))
        self.module.__dict__.update(
            __file__=spec.origin, __spec__=spec, __package__=spec.parent, __loader__=spec.loader, __cached__=spec.cached
        )
        return code

    @contextlib.contextmanager
    def _on_path(self) -> Iterator[None]:
        before = sys.path[:]
        sys.path.insert(0, self.folder)
        try:
            yield
        finally:
            sys.path[:] = before


def _no_module(name: str) -> str:
    return f"there is no module {name!r} to run, here or among what is installed"


def run_script(script: Script) -> int:
    """Run it, and return its exit status. What it raises is told as Python tells it, without our part of the traceback.

    ``sys.exit`` with a text prints that; an interrupt by the keyboard is status 130, as a shell has it.
    """
    before = sys.argv, sys.path[:], sys.modules["__main__"], sys.stdout, sys.stderr
    folder = os.getcwd()
    sys.argv = list(script.argv)
    sys.path.insert(0, script.folder)
    sys.modules["__main__"] = script.module
    script.module.__dict__["__builtins__"] = __builtins__
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            exec(script.code, script.module.__dict__)
    except SystemExit as exit_:
        return _status(exit_.code)
    except BaseException as error:
        _tell(error)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        sys.argv, sys.path[:], sys.modules["__main__"], sys.stdout, sys.stderr = before
        with contextlib.suppress(OSError):  # what is written goes where it was asked for
            os.chdir(folder)
    return 0


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _tell(error: BaseException) -> None:
    """Print a traceback that begins in the script."""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__") == __name__:
        traceback = traceback.tb_next
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)
