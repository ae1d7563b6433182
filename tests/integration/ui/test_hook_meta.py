"""What Airflow 3's web interface is told about the connection form."""

from __future__ import annotations

import json
from urllib.request import Request, urlopen

import pytest
from airflow_processes import AIRFLOW_2

from airflow_provider_nxcloud.connection.fields import EXTRA_FIELDS
from airflow_provider_nxcloud.connection.form import ui_field_behaviour

pytestmark = pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 renders the form itself")


def test_interface_is_told_the_fields_of_the_table(airflow):
    with urlopen(f"{airflow.url}/auth/token") as answer:
        token = json.load(answer)["access_token"]
    request = Request(f"{airflow.url}/ui/connections/hook_meta", headers={"Authorization": f"Bearer {token}"})
    with urlopen(request) as answer:
        (meta,) = [meta for meta in json.load(answer) if meta["connection_type"] == "nxcloud"]

    assert meta["hook_name"] == "NXCloud"
    behaviour = ui_field_behaviour()
    standard = {name: field or {} for name, field in meta["standard_fields"].items()}
    standard["schema"] = standard.pop("url_schema")
    assert [name for name, field in standard.items() if field.get("hidden")] == behaviour["hidden-fields"]
    for name, placeholder in behaviour["placeholders"].items():
        assert standard[name]["title"] == behaviour["relabeling"].get(name)
        assert standard[name]["placeholder"] == placeholder
    assert [
        (name, field["schema"]["title"], field["description"], field["value"])
        for name, field in meta["extra_fields"].items()
    ] == [(name, field.label, field.help, None) for name, field in EXTRA_FIELDS.items()]
    assert all("null" in field["schema"]["type"] for field in meta["extra_fields"].values())
