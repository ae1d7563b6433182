"""The connection form in the web interface of a real Airflow, as a user meets it in a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.metadata import version
from urllib.parse import urlsplit

import pytest
from airflow_processes import AIRFLOW_2, files_in

from airflow_provider_nxcloud.connection.fields import EXTRA_FIELDS
from airflow_provider_nxcloud.connection.form import ui_field_behaviour
from airflow_provider_nxcloud.connection.settings import ConnectionSettings

#: Airflow's own fault, see docs/connection.md.
CANNOT_TEST_WITHOUT_PORT = version("apache-airflow") in {"3.3.1", "3.3.2"}
EXTRA = {
    "business_phone": 8613800138000,
    "timeout": 7.5,
    "max_attempts": 2,
    "verify": False,
    "proxies": {"https": "http://user:canary-proxy@proxy.example.com:3128"},
    "allowed_media_hosts": ["*.aliyuncs.com", "cdn.example.com"],
}
#: As Airflow 2's form stores it.
EXTRA_AS_TEXT = {
    name: value if isinstance(value, str) else json.dumps(value) for name, value in EXTRA.items()
}


def test_type_is_in_the_list_under_its_name(form):
    assert form.connection_types().count("NXCloud") == 1


def test_form_shows_the_fields_of_the_table_all_empty_and_none_required(form, conn_id):
    form.new(conn_id)
    shown, behaviour = form.shown(), ui_field_behaviour()
    standard = {name: shown.pop(name) for name in ("description", *behaviour["placeholders"])}
    assert [(name, field.label, field.help) for name, field in shown.items()] == [
        (name, field.label, field.help) for name, field in EXTRA_FIELDS.items()
    ]
    for name, placeholder in behaviour["placeholders"].items():
        label = behaviour["relabeling"].get(name, name.title())
        assert (standard[name].label, standard[name].placeholder) == (label, placeholder)
    assert not any(field.required for field in (*standard.values(), *shown.values()))
    # An empty object is what Airflow 3's editor shows where nothing is stored.
    assert {form.value(name) for name in shown} <= {"", "{}"}


def test_connection_saved_with_the_extra_untouched_works_in_a_dag(form, airflow, nxcloud, stored):
    form.new("nxcloud_default")
    form.fill(login=nxcloud.access_key, password=nxcloud.access_secret, host=nxcloud.base_url)
    form.save()
    settings = ConnectionSettings.from_connection(stored("nxcloud_default"))
    assert settings == ConnectionSettings(
        "nxcloud_default", nxcloud.base_url, nxcloud.access_key, nxcloud.access_secret, business_phone=None
    )

    form.edit("nxcloud_default")
    form.fill(business_phone="+86 138 0013 8000")
    form.save()
    assert ConnectionSettings.from_connection(stored("nxcloud_default")) == replace(
        settings, business_phone=nxcloud.business_phone
    )
    succeeded, output = airflow.runner.run("example_nxcloud_media_ids")
    assert succeeded, output
    files = files_in(airflow.media)
    assert files.pop("manifest.jsonl")
    assert sorted(files.values()) == sorted(media.content for media in nxcloud.media.values())


def test_each_field_is_stored_as_it_was_filled(form, conn_id, stored):
    form.new(conn_id)
    hosts = ", ".join(EXTRA["allowed_media_hosts"]) if AIRFLOW_2 else "*.aliyuncs.com\ncdn.example.com\n"
    form.fill(login="key", password="secret", **{**EXTRA_AS_TEXT, "allowed_media_hosts": hosts})
    form.save()
    settings = ConnectionSettings.from_connection(stored())
    assert (settings.access_key, settings.access_secret, settings.base_url) == (
        "key",
        "secret",
        "https://api2.nxcloud.com",
    )
    assert {name: getattr(settings, name) for name in EXTRA} == {
        **EXTRA,
        "business_phone": "8613800138000",
        "allowed_media_hosts": ("*.aliyuncs.com", "cdn.example.com"),
    }


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(EXTRA, marks=pytest.mark.skipif(AIRFLOW_2, reason="Airflow 2 loses a stored false")),
        {**EXTRA, "verify": True},
        EXTRA_AS_TEXT,
        dict.fromkeys(EXTRA),
        {},
    ],
    ids=["json", "json true", "text", "null", "nothing"],
)
def test_saving_a_stored_connection_untouched_changes_nothing(form, conn_id, store, stored, extra):
    store(login="key", password="secret", port=8443, host="api.example.com/nx", extra=json.dumps(extra))
    before = ConnectionSettings.from_connection(stored())
    form.edit(conn_id)
    form.save()
    assert ConnectionSettings.from_connection(stored()) == before


def test_emptied_fields_count_as_absent(form, conn_id, store, stored):
    store(login="key", password="secret", extra=json.dumps(EXTRA))
    form.edit(conn_id)
    # All but one, because Airflow 2 never empties the whole extra.
    form.fill(**{name: "" for name in EXTRA if name != "max_attempts"})
    form.save()
    assert ConnectionSettings.from_connection(stored()) == ConnectionSettings(
        conn_id, "https://api2.nxcloud.com", "key", "secret", business_phone=None, max_attempts=2
    )


def test_stored_connection_can_be_tried(form, conn_id, store, nxcloud):
    fields = {**nxcloud.connection, "extra": json.dumps(nxcloud.connection["extra"])}
    store(**fields)
    # Airflow 2 does not test with a stored password.
    said = form.test_stored(conn_id, **({"password": nxcloud.access_secret} if AIRFLOW_2 else {}))
    assert ("Bad Request" if CANNOT_TEST_WITHOUT_PORT else "NXCloud accepts access key") in said


def test_connection_made_in_the_form_with_its_port_can_be_tried(form, conn_id, nxcloud):
    address = urlsplit(nxcloud.base_url)
    form.new(conn_id)
    form.fill(
        login=nxcloud.access_key,
        password=nxcloud.access_secret,
        host=f"{address.scheme}://{address.hostname}",
        port=str(address.port),
    )
    form.save()
    said = form.test_stored(conn_id, **({"password": nxcloud.access_secret} if AIRFLOW_2 else {}))
    assert "NXCloud accepts access key" in said
