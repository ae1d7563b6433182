"""The link to the destination, only where it leads somewhere."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.storage.destination import make_storage

AMAZON = "https://console.aws.amazon.com/s3/buckets/"


@pytest.mark.parametrize(
    ("path", "extra", "url"),
    [
        ("media", {"region_name": "eu-west-1"}, f"{AMAZON}media"),
        ("media/in/a b&c/", {"region_name": "eu-west-1"}, f"{AMAZON}media?prefix=in/a%20b%26c/"),
        ("media", {"region_name": "cn-north-1"}, None),
        ("media", {"endpoint_url": "https://amazonaws.com.example"}, None),
        ("media", {"endpoint_url": "http://127.0.0.1:1"}, None),
    ],
)
def test_console_is_named_only_where_the_store_is_amazons(monkeypatch, path, extra, url):
    # Airflow keeps a filesystem for each connection ID.
    conn_id = f"aws_{abs(hash((path, str(extra))))}"
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    storage = make_storage(f"s3://{conn_id}@{path}", None, None)

    assert storage.console_url() == url


def test_local_folder_has_no_link(tmp_path):
    storage = make_storage(str(tmp_path), None, None)

    assert storage.console_url() is None


def test_operator_offers_the_link():
    (link,) = NxCloudGetMediaOperator.operator_extra_links

    assert isinstance(link, BaseOperatorLink)
    assert link.name == "Destination"
