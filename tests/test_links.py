"""The link to the destination, only where it leads somewhere."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import BaseOperatorLink

from airflow_provider_nxcloud.destination import open_storage
from airflow_provider_nxcloud.links import console_url
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

AMAZON = "https://s3.eu-west-1.amazonaws.com"
GOOGLE = "https://storage.googleapis.com"


@pytest.mark.parametrize(
    ("scheme", "path", "endpoint", "url"),
    [
        ("s3", "media", AMAZON, "https://console.aws.amazon.com/s3/buckets/media"),
        (
            "s3a",
            "media/in/a b&c",
            AMAZON,
            "https://console.aws.amazon.com/s3/buckets/media?prefix=in/a%20b%26c/",
        ),
        ("s3", "media/in", "https://s3.cn-north-1.amazonaws.com.cn", None),
        ("s3", "media/in", "https://amazonaws.com.example", None),
        ("s3", "media/in", "http://127.0.0.1:9000", None),
        ("s3", "media/in", None, None),
        ("gs", "media/in?x", GOOGLE, "https://console.cloud.google.com/storage/browser/media/in%3Fx"),
        ("gs", "media/in", "http://127.0.0.1:9000", None),
        ("abfs", "container/in", "https://account.blob.core.windows.net", None),
    ],
)
def test_console_is_named_only_for_the_clouds_that_have_one(scheme, path, endpoint, url):
    assert console_url(scheme, path, endpoint) == url


@pytest.mark.parametrize(
    ("extra", "url"),
    [
        ({"region_name": "eu-west-1"}, "https://console.aws.amazon.com/s3/buckets/media?prefix=in/"),
        ({"region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:1"}, None),
    ],
)
def test_storage_knows_whether_it_is_amazons(monkeypatch, extra, url):
    conn_id = "aws" if url else "minio"
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    storage = open_storage(f"s3://{conn_id}@media/in/", storage_conn_id=None, write_kwargs=None)
    storage.close()

    assert storage.console_url() == url


def test_local_folder_has_no_link(tmp_path):
    storage = open_storage(str(tmp_path), storage_conn_id=None, write_kwargs=None)
    storage.close()

    assert storage.console_url() is None


def test_operator_offers_the_link():
    (link,) = NxCloudGetMediaOperator.operator_extra_links

    assert isinstance(link, BaseOperatorLink)
    assert link.name == "Destination"
