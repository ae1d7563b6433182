"""How logs put sizes and durations."""

from __future__ import annotations

import pytest

from airflow_provider_nxcloud.text import format_bytes, format_duration


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999.4, "999 bytes"),
        (999.5, "1.0 kB"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_500_000_000_000, "1500 GB"),
    ],
)
def test_size_has_the_unit_that_people_read(size, text):
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (0.94, "0.9 s"),
        (0.95, "1 s"),
        (59.6, "1 min"),
        (72, "1 min 12 s"),
        (7_505, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (86_405, "1 d 5 s"),
    ],
)
def test_duration_has_its_two_largest_units(seconds, text):
    assert format_duration(seconds) == text
