"""Signature, docstring and page name the same parameters, with the same defaults."""

from __future__ import annotations

import ast
import inspect
import re
import time

import pytest
from pages import tables

from airflow_provider_nxcloud.auth import NxCloudAuth, sign
from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor
from airflow_provider_nxcloud.triggers.nxcloud import NxCloudMediaTrigger
from airflow_provider_nxcloud.webhook import media_from_webhook

SUBJECTS = {
    subject.__name__: subject
    for subject in (
        NxCloudAuth,
        NxCloudGetMediaOperator,
        NxCloudHook,
        NxCloudMediaSensor,
        NxCloudMediaTrigger,
        NxCloudSandbox,
        media_from_webhook,
        sign,
    )
}
TABLES = tables("parameters")
METHODS = tables("methods")
#: Names for what a table cannot write as a literal.
NAMED_DEFAULTS = {
    "`time.sleep`": time.sleep,
    "`time.time`": time.time,
    "`[operators] default_deferrable`": False,  # what it is in these tests
    "required": inspect.Parameter.empty,
}
#: Airflow asks these of a hook; nobody else calls them.
FORM = {"get_connection_form_widgets", "get_ui_field_behaviour"}


def parameters(function) -> dict[str, object]:
    """Return the defaults of the parameters, by name."""
    found = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in found if each.name not in ("self", "kwargs")}


def documented(doc: str | None) -> list[str]:
    return re.findall(r"^\s*:param (\w+):", doc or "", re.MULTILINE)


def is_ours(function) -> bool:
    return function.__module__.startswith("airflow_provider_nxcloud.")


def test_every_subject_has_a_table():
    assert set(TABLES) == set(SUBJECTS)


@pytest.mark.parametrize("name", SUBJECTS)
def test_docstring_names_every_parameter_in_order(name):
    assert documented(SUBJECTS[name].__doc__) == list(parameters(SUBJECTS[name]))


@pytest.mark.parametrize("name", SUBJECTS)
def test_table_names_every_parameter_and_its_default(name):
    shown = {row["parameter"].strip("`"): row["default"] for row in TABLES[name]}
    assert {
        parameter: NAMED_DEFAULTS[default]
        if default in NAMED_DEFAULTS
        else ast.literal_eval(default.strip("`"))
        for parameter, default in shown.items()
    } == parameters(SUBJECTS[name])


@pytest.mark.parametrize(
    "name", [name for name, subject in SUBJECTS.items() if hasattr(subject, "template_fields")]
)
def test_table_says_what_is_templated(name):
    templated = {row["parameter"].strip("`") for row in TABLES[name] if row["templated"] == "yes"}
    assert templated == set(SUBJECTS[name].template_fields)


@pytest.mark.parametrize("name", METHODS)
def test_table_names_every_method_and_its_arguments(name):
    calls = [call for row in METHODS[name] for call in re.findall(r"`(\w+)\(([^)]*)\)`", row["method"])]
    methods = {
        method: function
        for method, function in inspect.getmembers(SUBJECTS[name], inspect.isfunction)
        if is_ours(function) and not method.startswith("_") and method not in FORM
    }
    assert {method: re.findall(r"\w+", arguments) for method, arguments in calls} == {
        method: list(inspect.signature(function).parameters)[1:] for method, function in methods.items()
    }
    for function in methods.values():
        assert documented(function.__doc__) == list(inspect.signature(function).parameters)[1:]
