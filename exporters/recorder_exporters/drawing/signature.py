"""Options that several exporters take and one function spells out."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["takes_options_of"]

Export = TypeVar("Export", bound=Callable[..., str | bytes])


def takes_options_of(function: Callable[..., Any]) -> Callable[[Export], Export]:
    """Write the options of a function into the signature of a method that hands its ``**drawing`` on to it, so that
    they are listed and checked by name and type.
    """

    def signed(export: Export) -> Export:
        own, other = inspect.signature(export), inspect.signature(function)
        parameters = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        parameters += [p for p in other.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
        export.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        export.__annotations__ |= {
            p.name: p.annotation for p in parameters if p.annotation is not inspect.Parameter.empty
        }
        return export

    return signed
