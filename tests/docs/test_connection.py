"""What docs/connection.md says of the connection is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import BaseHook, Connection
from airflow_processes import DagRunner, run

from airflow_provider_nxcloud.connection.fields import EXTRA_FIELDS
from airflow_provider_nxcloud.connection.form import ui_field_behaviour
from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudInputError

FOLDER = Path(__file__).parents[2] / "docs"
DOCS = (FOLDER / "connection.md").read_text("utf-8")
COMMANDS = re.findall(r"```bash\n(.*?)```", DOCS, re.DOTALL)
REFUSED = DOCS.partition("## What is refused")[2]
ERRORS = re.findall(r"^\|.*\| `(.*?)` \|$", REFUSED, re.MULTILINE)


def test_documented_fields_are_those_of_the_form():
    rows = re.findall(r"^\| (?:extra )?`(\w+)` \| ([^|]+) \|", DOCS, re.MULTILINE)
    labels = {
        **ui_field_behaviour()["relabeling"],
        **{name: field.label for name, field in EXTRA_FIELDS.items()},
    }
    assert {name: label for name, label in rows if name in labels} == labels
    hidden = [name for name, label in rows if label == "hidden"]
    assert sorted(hidden) == ui_field_behaviour()["hidden-fields"]


def test_documented_pictures_are_there():
    pictures = re.findall(r"\]\((images/\S+)\)", DOCS)
    assert pictures
    assert not [picture for picture in pictures if not (FOLDER / picture).exists()]


def test_documented_json_and_uri_say_the_same(monkeypatch):
    exports = [command for command in COMMANDS if command.startswith("export ")]
    settings = []
    for export in exports:
        monkeypatch.setenv(*shlex.split(export)[1].split("=", 1))
        settings.append(ConnectionSettings.from_connection(BaseHook.get_connection("nxcloud_default")))
    assert settings == 2 * [
        ConnectionSettings(
            "nxcloud_default",
            "https://api2.nxcloud.com",
            "YOUR_ACCESS_KEY",
            "YOUR_ACCESS_SECRET",
            business_phone="8613800138000",
            timeout=10,
            allowed_media_hosts=("*.aliyuncs.com",),
        )
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"login": None},
        {"password": "secret\n"},
        {"host": "ftp://example.com"},
        {"host": "https://user@example.com"},
        {"host": "https://example.com", "schema": "http"},
        {"schema": "api"},
        {"port": 65536},
        {"extra": "[]"},
        {"extra": '{"business_phone": "1234"}'},
        {"extra": '{"timeout": 0}'},
        {"extra": '{"max_attempts": 2.5}'},
        {"extra": '{"verify": "yes"}'},
        {"extra": '{"proxies": "http://p"}'},
        {"extra": '{"allowed_media_hosts": "https://h"}'},
    ],
)
@pytest.mark.filterwarnings("ignore:Encountered")  # Airflow 2.11 warns of such extras itself
def test_error_is_documented_word_for_word(wrong):
    good = {"conn_id": "nx", "conn_type": "nxcloud", "login": "key", "password": "secret"}
    with pytest.raises(NxCloudInputError) as caught:
        ConnectionSettings.from_connection(Connection(**{**good, **wrong}))
    assert [error for error in ERRORS if str(caught.value).startswith(error.removesuffix("..."))]


@pytest.mark.slow
def test_documented_commands_add_and_try_a_connection(sandbox, tmp_path):
    airflow = DagRunner(tmp_path / "home", tmp_path, AIRFLOW__CORE__TEST_CONNECTION="Enabled")
    host, _, port = sandbox.base_url.rpartition(":")
    keys = {"YOUR_ACCESS_KEY": sandbox.access_key, "YOUR_ACCESS_SECRET": sandbox.access_secret, "443": port}
    for command in (command for command in COMMANDS if command.startswith("airflow ")):
        _, *arguments = [keys.get(word, word) for word in shlex.split(command.replace("\\\n", ""))]
        if "add" in arguments:
            arguments += ["--conn-host", host]
        code, output = run(["-m", "airflow", *arguments], airflow.env)
        assert code == 0, output
    assert "success" in output
    assert sandbox.calls()
