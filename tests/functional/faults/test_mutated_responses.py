"""Mutated responses through the operator; ``make fuzz`` runs more of them."""

from __future__ import annotations

import pytest
from response_fuzz import fuzz

CASES = 500


@pytest.mark.parametrize("first", range(0, 12 * CASES, CASES))
def test_mutated_response_is_an_error_of_ours_or_the_very_bytes(first):
    causes = fuzz(range(first, first + CASES - 50), range(first, first + 50))
    assert sum(causes.values()) == CASES
    # Both ends are reached, and nothing of a library's inside comes to light.
    assert 20 < causes["stored"] < CASES // 2
    assert [cause for cause in causes if "an error without a text" in cause or "NoneType" in cause] == []
