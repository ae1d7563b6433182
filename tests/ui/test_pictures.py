"""The pictures of the form in docs/images; ``make pictures`` takes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from airflow_processes import AIRFLOW_2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("PICTURES" not in os.environ, reason="only `make pictures` asks for them"),
]


def test_take_pictures(form):
    folder = Path(os.environ["PICTURES"])
    form.new("nxcloud_default")
    sections = {"": ""} if AIRFLOW_2 else {"-keys": "Standard Fields", "": "Extra Fields"}
    for suffix, section in sections.items():
        if section:
            form.open_section(section)
            form.dialog.get_by_role("button", name="Save").click(trial=True)  # waits until nothing moves
        path = folder / f"connection-form-airflow-{2 if AIRFLOW_2 else 3}{suffix}.png"
        form.dialog.screenshot(path=path, animations="disabled")
        assert path.stat().st_size < 100_000
