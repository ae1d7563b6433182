"""Errors, codes and public names in the pages are those of the code."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from pages import PAGES, tables

from airflow_provider_nxcloud import exceptions
from airflow_provider_nxcloud.api.codes import CODES, describe_code
from airflow_provider_nxcloud.exceptions import NxCloudError
from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.transfer.transfer import MEDIA_ERRORS

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(kind, NxCloudError)
}
CODE_ROWS = tables("codes")[""]
CLASS_ROWS = {row["class"].strip("`"): row for row in tables("classes")[""]}
PUBLIC = [
    (row["from"].strip("`"), name)
    for row in tables("public")[""]
    for name in re.findall(r"`(\w+)`", row["name"])
]


def codes_of(cell: str) -> list[int]:
    """Return the codes of a cell such as ``1000, 1006 to 1009``."""
    if cell == "any other":
        return [4242]
    parts = [[int(number) for number in part.split(" to ")] for part in cell.split(", ")]
    return [code for part in parts for code in range(part[0], part[-1] + 1)]


def test_table_has_every_code_once():
    codes = [code for row in CODE_ROWS for code in codes_of(row["code"])]
    assert len(codes) == len(set(codes))
    assert set(codes) == {*CODES, *range(1000, 1010), 4242}


@pytest.mark.parametrize("row", CODE_ROWS, ids=lambda row: row["code"])
def test_code_is_described_as_in_the_code(row):
    for code in codes_of(row["code"]):
        meaning, remedy, kind = describe_code(code)
        assert (row["meaning"], row["class"].strip("`"), row["remedy"]) == (meaning, kind.__name__, remedy)


@pytest.mark.parametrize("row", CODE_ROWS, ids=lambda row: row["code"])
def test_code_is_retried_as_the_table_says(row, sandbox, connect, no_backoff):
    connect(extra={"max_attempts": 3})
    sandbox.inject("api.code", times=None, code=codes_of(row["code"])[0])
    with pytest.raises(CLASSES[row["class"].strip("`")]):
        NxCloudHook().get_media("1000000001")
    calls = {"no": 1, "yes": 3, "once, with NXCloud's clock": 2}
    assert len(sandbox.calls()) == calls[row["retried"]]


def test_table_has_every_class():
    assert set(CLASS_ROWS) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_class_stops_and_is_retried_as_the_table_says(name):
    kind, row = CLASSES[name], CLASS_ROWS[name]
    assert row["what it stops"].startswith("this media") == issubclass(kind, MEDIA_ERRORS)
    if row["Airflow retries"] == "as a lost one":
        assert issubclass(kind, exceptions.NxCloudMediaRefusedError)
    else:
        assert row["Airflow retries"].startswith("no") == issubclass(kind, AirflowFailException)


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_public_name_is_there_and_in_the_reference(module, name):
    subject = getattr(importlib.import_module(module), name)
    home = module if subject.__module__ == "types" else subject.__module__  # an alias has none of its own
    assert f"::: {home}.{name}\n" in PAGES["docs/reference.md"]


def test_every_name_of_ours_in_the_pages_exists():
    known = {name for _, name in PUBLIC} | set(CLASSES)
    used = {name for text in PAGES.values() for name in re.findall(r"\b(?:NxCloud|Sandbox)[A-Z]\w+", text)}
    assert used == {name for name in known if name.startswith(("NxCloud", "Sandbox"))}
