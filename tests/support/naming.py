"""Names for the cases of a parametrised test."""

from __future__ import annotations

import re


def case_name(value: object) -> str:
    """Return ``repr(value)`` without addresses: every process of a parallel run has to collect the same names."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
