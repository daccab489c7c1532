"""Figures as people read them: three digits and a unit."""

from recorder.limits import LARGEST

__all__ = ["bytes_in_words", "count_in_words", "norm_in_words", "share_in_words", "time_in_words"]


def _in_units(figure: float, units: tuple[str, ...]) -> str:
    """``12.3 M``: the largest unit that leaves a whole number, three digits of it."""
    last = len(units) - 1
    number = 0
    while number < last and figure >= 999.5:
        figure, number = figure / 1000, number + 1
    digits = 0 if figure >= 99.95 or figure == int(figure) else 1 if figure >= 9.995 else 2
    return f"{figure:,.{digits}f} {units[number]}".rstrip()


def count_in_words(figure: float) -> str:
    """``4.09 G`` for 4,089,184,256."""
    return _in_units(figure, ("", "k", "M", "G", "T", "P", "E"))


def bytes_in_words(figure: float) -> str:
    """``46.8 MB``: in powers of 1,000, as disks and torchinfo have it."""
    return _in_units(figure, ("B", "kB", "MB", "GB", "TB", "PB", "EB"))


def time_in_words(nanoseconds: float) -> str:
    """``1.23 ms``; ``?`` for what no clock says."""
    if not abs(nanoseconds) <= LARGEST:
        return "?"
    return _in_units(nanoseconds, ("ns", "µs", "ms", "s")) if nanoseconds >= 0 else f"{nanoseconds / 1e6:.2f} ms"


def share_in_words(share: float) -> str:
    """``12.3 %``."""
    return f"{100 * share:.1f} %"


def norm_in_words(norm: float) -> str:
    """``0.00123``; ``NaN or Inf`` for what is not finite."""
    return f"{norm:.3g}" if abs(norm) < float("inf") else "NaN or Inf"
