"""What Airflow reads about the provider, checked with the installed Airflow's own schemas."""

from __future__ import annotations

import html
import importlib
import importlib.util
import json
import re
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.cli.cli_parser import get_parser
from airflow.providers.common.compat.sdk import Connection
from airflow.providers_manager import ProvidersManager

import airflow_provider_nxcloud
from airflow_provider_nxcloud.connection.fields import EXTRA_FIELDS
from airflow_provider_nxcloud.connection.form import get_connection_form_widgets, get_ui_field_behaviour
from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.get_provider_info import get_provider_info

AIRFLOW_FOLDER = Path(airflow.__file__).parent
INFO = get_provider_info()
(CONNECTION_TYPE,) = INFO["connection-types"]
CONN_FIELDS = CONNECTION_TYPE["conn-fields"]


def schema_of(name: str) -> dict:
    path = AIRFLOW_FOLDER / name
    if not path.exists():
        pytest.skip(f"this Airflow has no {name}")
    return json.loads(path.read_text())


def settings_with(extra: object) -> ConnectionSettings:
    return ConnectionSettings.from_connection(
        Connection(conn_id="nx", conn_type="nxcloud", login="key", password="secret", extra=json.dumps(extra))
    )


def test_info_is_valid_for_this_airflow():
    jsonschema.validate(INFO, schema_of("provider_info.schema.json"))


def test_connection_type_is_valid_for_airflows_that_read_the_form_from_it():
    schema = schema_of("provider.yaml.schema.json")
    connection_types = schema["properties"]["connection-types"]
    if "conn-fields" not in connection_types["items"]["properties"]:
        pytest.skip("this Airflow asks the hook")
    jsonschema.validate(
        INFO["connection-types"], {**connection_types, "definitions": schema.get("definitions", {})}
    )


def test_every_kind_names_a_module_of_this_package_that_exists():
    names = [
        name
        for kind in ("hooks", "operators", "sensors", "triggers")
        for name in INFO[kind][0]["python-modules"]
    ]
    assert [name.rsplit(".", 2)[1] for name in names] == ["hooks", "operators", "sensors", "triggers"]
    assert all(importlib.util.find_spec(name) for name in names)


def test_connection_type_belongs_to_the_hook():
    module, _, name = CONNECTION_TYPE["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert (hook.conn_type, hook.hook_name) == (
        CONNECTION_TYPE["connection-type"],
        CONNECTION_TYPE["hook-name"],
    )


def test_version_is_that_of_the_package():
    assert INFO["versions"] == [airflow_provider_nxcloud.__version__]


def test_integration_names_agree():
    (integration,) = INFO["integrations"]
    for kind in ("hooks", "operators", "sensors", "triggers"):
        assert INFO[kind][0]["integration-name"] == integration["integration-name"]


def test_info_is_new_each_time_so_that_no_reader_can_spoil_it():
    before = json.dumps(get_provider_info())
    spoiled = get_provider_info()
    form = spoiled["connection-types"][0]
    form["conn-fields"]["timeout"]["schema"]["minimum"] = 5
    form["conn-fields"]["allowed_media_hosts"]["schema"]["items"]["type"] = "integer"
    form["ui-field-behaviour"]["hidden-fields"].append("host")
    form["ui-field-behaviour"]["relabeling"]["login"] = "Login"
    assert json.dumps(get_provider_info()) == before


def test_form_offers_exactly_the_known_extra_fields():
    assert list(CONN_FIELDS) == list(EXTRA_FIELDS)


@pytest.mark.parametrize("name", EXTRA_FIELDS)
def test_field_is_optional_has_help_and_no_default(name):
    field = CONN_FIELDS[name]
    assert "null" in field["schema"]["type"]
    assert "boolean" not in field["schema"]["type"]
    assert "default" not in field["schema"]
    assert field["label"]
    assert len(field["description"]) > 20


def test_saving_an_untouched_form_changes_nothing():
    """Airflow 3 stores every field of the form, null where it was left alone."""
    assert settings_with(dict.fromkeys(CONN_FIELDS)) == settings_with({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0),
        ("timeout", 0.001),
        ("timeout", 3600),
        ("timeout", 3601),
        ("max_attempts", 0),
        ("max_attempts", 1),
        ("max_attempts", 100),
        ("max_attempts", 101),
        ("max_attempts", 1.5),
        ("proxies", {"http": "http://p:1"}),
        ("proxies", ["http://p:1"]),
        ("allowed_media_hosts", ["a", "b"]),
        ("allowed_media_hosts", [1]),
        ("verify", "true"),
        ("business_phone", "8613800000000"),
    ],
)
def test_form_and_connection_agree_on_what_is_right(name, value):
    def form_accepts() -> bool:
        return not list(jsonschema.Draft7Validator(CONN_FIELDS[name]["schema"]).iter_errors(value))

    def connection_accepts() -> bool:
        try:
            return bool(settings_with({name: value}))
        except NxCloudInputError:
            return False

    assert form_accepts() == connection_accepts()


def test_hook_method_and_info_say_the_same_about_standard_fields():
    behaviour = get_ui_field_behaviour()
    jsonschema.validate(behaviour, schema_of("customized_form_field_behaviours.schema.json"))
    assert {key.replace("_", "-"): value for key, value in behaviour.items()} == CONNECTION_TYPE[
        "ui-field-behaviour"
    ]
    assert behaviour["relabeling"] == {"login": "Access key", "password": "Access secret", "host": "Base URL"}
    # With the extra hidden Airflow 2's Test button does nothing for a stored connection.
    assert behaviour["hidden_fields"] == ["schema"]


@pytest.fixture
def form():
    """The extra fields as Airflow 2's web server builds them, filled with what is stored."""
    pytest.importorskip("flask_appbuilder")
    wtforms = pytest.importorskip("wtforms")
    form_class = type("ConnectionForm", (wtforms.Form,), get_connection_form_widgets())

    def form(stored: dict):
        form = form_class()
        for name, value in stored.items():
            form[name].data = value  # past every filter, as Airflow does
        return form

    return form


def typed(field) -> str:
    """Return what stands in the input, which is what saving the form sends."""
    (value,) = re.findall(r'value="([^"]*)"', str(field()))
    return html.unescape(value)


def test_widgets_show_the_same_fields_labels_and_help(form):
    shown = {field.name: (field.label.text, field.description) for field in form({})}
    assert shown == {name: (field["label"], field["description"]) for name, field in CONN_FIELDS.items()}


def test_untouched_widgets_are_empty_which_airflow_2_does_not_store(form):
    assert {typed(field) for field in form({})} == {""}


def test_widgets_show_stored_json_so_that_saving_it_again_means_the_same(form):
    extra = {
        "business_phone": 8613800138000,
        "timeout": 7.5,
        "max_attempts": 2,
        "verify": True,
        "proxies": {"https": "http://p:3128"},
        "allowed_media_hosts": ["*.aliyuncs.com", "h"],
    }
    shown = {field.name: typed(field) for field in form(extra)}
    assert settings_with(shown) == settings_with(extra)
    assert typed(form({"verify": "/ca.pem"})["verify"]) == "/ca.pem"


installed = pytest.mark.skipif(
    "airflow-provider-nxcloud" not in ProvidersManager().providers,
    reason="Airflow only knows providers that are installed",
)


@installed
@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["list"], ["airflow-provider-nxcloud", airflow_provider_nxcloud.__version__]),
        (["get", "--full", "airflow-provider-nxcloud"], INFO["operators"][0]["python-modules"]),
        (["hooks"], [CONNECTION_TYPE["hook-class-name"], "nxcloud_conn_id"]),
        (["triggers"], INFO["triggers"][0]["python-modules"]),
    ],
)
def test_airflow_providers_shows_it(command, shown, capsys):
    arguments = get_parser().parse_args(["providers", *command, "--output", "json"])
    arguments.func(arguments)
    output = capsys.readouterr().out
    assert [text for text in shown if text not in output] == []


@installed
def test_airflow_registers_the_connection_type():
    """On Airflow 2 this is what takes the form apart, and drops the type when it does not like a field."""
    try:
        from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime as Manager
    except ImportError:  # before 3.2
        Manager = ProvidersManager  # noqa: N806
    hook = Manager().hooks["nxcloud"]
    assert hook is not None
    assert (hook.hook_name, hook.connection_type) == ("NXCloud", "nxcloud")
