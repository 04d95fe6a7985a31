"""Which combinations are tested: the usual one each time, all of them by `bin/test --full`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
FULL = os.environ.get("TEST_MATRIX") == "full"
OVERLAY = os.environ.get("TEST_OVERLAY") != "false"
"""Whether hosts make overlays where they can. `bin/test --full` runs the attacks without them as well."""


def usual(combinations: Sequence[T]) -> list[T]:
    """The first combination, or all of them where everything is asked for."""
    return list(combinations if FULL else combinations[:1])


def examples(most: int) -> int:
    """How many examples a property test looks at: `most` where everything is asked for, and a quarter of them each time."""
    return most if FULL else most // 4
