"""The README shows tested files, not copies that drift."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"<!-- (\S+) -->\n```python\n(.*?)```", README, re.DOTALL)


def test_readme_has_blocks_from_files():
    assert BLOCKS


@pytest.mark.parametrize(("path", "block"), BLOCKS)
def test_readme_block_is_the_marked_region_of_its_file(path, block):
    region = re.search(r"# \[START \S+\]\n(.*)# \[END", (ROOT / path).read_text("utf-8"), re.DOTALL)
    assert block == region.group(1)


@pytest.mark.parametrize("name", re.findall(r"`(NxCloud\w+Error)`", README))
def test_readme_names_errors_that_exist(name):
    from airflow_provider_nxcloud import exceptions

    assert issubclass(getattr(exceptions, name), exceptions.NxCloudError)
