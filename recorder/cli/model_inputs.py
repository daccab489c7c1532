"""What a model is called with, from what people type: ``x=1,3,224,224``, ``ids=1,16:int64<100``, ``mode="eval"``.

    SHAPE[:DTYPE][<BOUND]    a random tensor; () is the shape of a lone number
    [[1,2],[3,4]]:DTYPE      a tensor of these numbers
    [A; B]  (A; B)           a list, a tuple of such
    {key: A; other: B}       a dict of such
    "text" true null 0.5     JSON, of what is no shape; 0.5 needs a name
    NAME:=JSON               JSON, whatever it looks like

A file of its own because it needs torch, which the command line loads only to record.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click
import torch

from recorder.capture.tensor_facts import tensors_in
from recorder.errors import describe_error

__all__ = ["Inputs", "Making", "dtype_of", "inputs_of", "make_input", "of_batch"]


_NUMBER = re.compile(r"-?\d+\.\d*(e[+-]?\d+)?|-?\d+e[+-]?\d+", re.IGNORECASE)
"""One that is no whole number."""


class Making(NamedTuple):
    """How tensors are made: where, and of which floating-point type if they do not say so themselves."""

    device: str | None = None
    dtype: torch.dtype | None = None


class Inputs(NamedTuple):
    """What a model is called with."""

    args: list[Any]
    kwargs: dict[str, Any]


def inputs_of(texts: Sequence[str], making: Making = Making()) -> Inputs:  # noqa: B008
    """The arguments of a call, from ``VALUE``, ``NAME=VALUE`` and ``NAME:=JSON``, one each.

    Raises:
        click.UsageError: one is nothing of the kind, or a name comes twice.
    """
    inputs = Inputs([], {})
    for text in texts:
        found = re.match(r"\s*([^\W\d]\w*)\s*(:?=)(?!=)", text)
        if found is None:
            # A decimal number without a name is a misspelt shape sooner than an argument.
            inputs.args.append((_random if _NUMBER.fullmatch(text) else make_input)(text, making))
            continue
        name, sign = found.groups()
        if name in inputs.kwargs:
            raise click.UsageError(f"the input {name!r} is given twice: several tensors in one are [A; B]")
        rest = text[found.end() :]
        inputs.kwargs[name] = make_input(rest, making) if sign == "=" else _json(rest, text)
    return inputs


def make_input(text: str, making: Making = Making()) -> Any:  # noqa: B008
    """One argument. Random floating-point numbers are drawn from the normal distribution, below a bound evenly from 0
    on; whole numbers from 0 on below the bound, which is 2 if there is none: valid as indices into any vocabulary of
    two and more.

    Raises:
        click.UsageError: it is no shape, no dtype, and no JSON either.
    """
    text = text.strip()
    if (numbers := re.fullmatch(r"(\[.*\]):(\w+)", text, re.DOTALL)) is not None:
        return _of_numbers(numbers[1], dtype_of(numbers[2]), making)
    if re.fullmatch(r'".*"|true|false|null|\[\s*\]|\{\s*\}', text) or _NUMBER.fullmatch(text):
        return _json(text, text)
    try:
        return _nested(text, making)
    except click.UsageError:
        with contextlib.suppress(ValueError):
            if text.startswith(("[", "{")):
                return json.loads(text)
        raise


def _nested(text: str, making: Making) -> Any:
    """A list, a tuple or a dict, or else a random tensor."""
    inside = text[1:-1]
    match text[:1] + text[-1:]:
        case "{}":
            return {key: make_input(value, making) for key, value in _entries(inside, text)}
        case "[]":
            return [make_input(part, making) for part in _parts(inside)]
        case "()" if ";" in inside:
            return tuple(make_input(part, making) for part in _parts(inside))
    return _random(text, making)


def _parts(text: str) -> Iterator[str]:
    """What semicolons separate that stand in no brackets and no quotation marks; nothing after the last one."""
    depth, begin, quoted = 0, 0, False
    for place, letter in enumerate(text):
        quoted ^= letter == '"'
        if not quoted:
            depth += (letter in "[({") - (letter in "])}")
            if letter == ";" and depth == 0:
                yield text[begin:place]
                begin = place + 1
    if text[begin:].strip():
        yield text[begin:]


def _entries(text: str, whole: str) -> Iterator[tuple[str, str]]:
    """The keys and values of a dict."""
    for part in _parts(text):
        found = re.fullmatch(r'\s*(?:"([^"]*)"|([\w.-]+))\s*:(.*)', part, re.DOTALL)
        if found is None:
            raise click.UsageError(f"{whole!r} is no dict: write {{ids: 1,16:int64<100; mask: 1,16:bool}}")
        yield found[1] if found[1] is not None else found[2], found[3]


def _random(text: str, making: Making) -> torch.Tensor:
    sizes, _, kind = text.partition(":")
    if "<" in sizes:
        sizes, _, bound = sizes.partition("<")
        kind = f"int64<{bound}"
    dtype_name, less, bound = kind.partition("<")
    try:
        shape = [] if sizes.strip() == "()" else [int(size) for size in sizes.split(",")]
    except ValueError:
        shape = [-1]
    if min(shape, default=0) < 0:
        raise click.UsageError(
            f'{text!r} is no shape: write whole numbers with commas, such as 1,3,224,224, or JSON, such as "text"'
        )
    dtype = dtype_of(dtype_name) if dtype_name else making.dtype or torch.float32
    limit = _bound(bound, text) if less else None
    try:
        return _drawn(shape, dtype, limit, making.device)
    except Exception as error:  # there is no room for it, or no such number
        told = describe_error(error, first_line=True)
        raise click.UsageError(f"{text!r} could not be made: {told}") from error


def _drawn(shape: list[int], dtype: torch.dtype, limit: float | None, device: str | None) -> torch.Tensor:
    if dtype.is_floating_point or dtype.is_complex:
        draw = torch.randn if limit is None else torch.rand
        try:
            tensor = draw(shape, dtype=dtype, device=device)
        except (RuntimeError, NotImplementedError):  # dtypes that exist to be converted to, such as float8_e5m2
            tensor = draw(shape, device=device).to(dtype)
        return tensor if limit is None else tensor * limit
    return torch.randint(0, int(limit or 2), shape, device=device).to(dtype)


def _bound(text: str, whole: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        limit = 0
    if not limit > 0:
        raise click.UsageError(f"{whole!r} has no bound behind <: write a positive number, such as 1,16:int64<100")
    return limit


def _of_numbers(text: str, dtype: torch.dtype, making: Making) -> torch.Tensor:
    try:
        return torch.tensor(_json(text, text), dtype=dtype, device=making.device)
    except (ValueError, TypeError, RuntimeError) as error:
        raise click.UsageError(f"{text!r} is no tensor: {str(error).splitlines()[0]}") from error


def dtype_of(name: str) -> torch.dtype:
    """One of torch's dtypes, by its name.

    Raises:
        click.UsageError: there is none of that name.
    """
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise click.UsageError(f"{name!r} is no dtype: write one of torch's, such as 1,16:int64")
    return dtype


def _json(text: str, whole: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{whole!r} is no JSON: {error}") from error


def of_batch(inputs: Inputs, count: int) -> Inputs:
    """The same inputs of so many examples: of all tensors whose first size is the first tensor's, the first example so
    often.
    """
    sizes = [tensor.shape[0] for tensor in tensors_in((inputs.args, inputs.kwargs)) if tensor.dim()]
    if not sizes:
        raise click.UsageError("--batch is the first size of the inputs, and there is no input with sizes")

    def repeated(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            fits = value.dim() and value.shape[0] == sizes[0]
            return value[:1].repeat(count, *(1 for _ in value.shape[1:])) if fits else value
        if isinstance(value, dict):
            return {key: repeated(item) for key, item in value.items()}
        return type(value)(map(repeated, value)) if type(value) in (list, tuple) else value

    return Inputs(repeated(inputs.args), repeated(inputs.kwargs))
