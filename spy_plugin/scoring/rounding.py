"""The one way to show a score: two decimals, rounded once, halves away from zero."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

DIGITS = 2


def rounded(value: float, digits: int = DIGITS, *, signed: bool = False) -> str:
    """Return a score or a difference in percent as text.

    Python's own formatting rounds the binary number, and halves to even: it shows 0.125 as 0.12 and
    1.005 as 1.00. Here the shortest decimal that stands for the number is rounded, as by hand.
    """
    number = Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    if not number:
        number = abs(number)  # no -0.00
    return f"{number:+f}" if signed else f"{number:f}"
