"""The signature against NXCloud's published examples, and the rules around the body."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import airflow_provider_nxcloud.auth
from airflow_provider_nxcloud.signature import sign

PUBLISHED = {
    '{"name":"牛小信","id":10001}': "87c3560d3331ae23f1021e2025722354",
    '{"id":10001,"name":"牛小信"}': "7750759da06333f20d0640be09355e34",
    '{"id": 10001, "name": "牛小信"}': "d0c24a9886c629330d7f3f2056c65bc2",
}
CALL = {
    "access_key": "fme2na3kdi3ki",
    "action": "send",
    "biz_type": "1",
    "ts": "1655710885431",
    "access_secret": "abciiiko2k3",
}


@pytest.mark.parametrize(("body", "expected"), PUBLISHED.items())
def test_sign_published_example_gives_published_signature(body, expected):
    assert sign(**CALL, body=body) == expected


@pytest.mark.parametrize(("body", "expected"), PUBLISHED.items())
def test_sign_bytes_body_gives_signature_of_its_text(body, expected):
    assert sign(**CALL, body=body.encode()) == expected


@pytest.mark.parametrize("body", [None, "", b""])
def test_sign_empty_body_is_left_out(body):
    text = "accessKey=fme2na3kdi3ki&action=send&bizType=1&ts=1655710885431&accessSecret=abciiiko2k3"
    assert sign(**CALL, body=body) == hashlib.md5(text.encode()).hexdigest()


def test_sign_bytes_that_are_no_text_are_signed_as_they_are():
    head = b"accessKey=fme2na3kdi3ki&action=send&bizType=1&ts=1655710885431"
    expected = hashlib.md5(head + b"&body=\xff\x00&accessSecret=abciiiko2k3").hexdigest()
    assert sign(**CALL, body=b"\xff\x00") == expected


@pytest.mark.parametrize("name", CALL)
def test_sign_each_part_changes_the_signature(name):
    assert sign(**{**CALL, name: CALL[name] + "1"}, body="{}") != sign(**CALL, body="{}")


@given(body=st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_sign_any_text_equals_its_utf8_and_is_lowercase_hex(body):
    signature = sign(**CALL, body=body)
    assert signature == sign(**CALL, body=body.encode())
    assert len(signature) == 32
    assert set(signature) <= set("0123456789abcdef")


def test_sign_is_offered_by_the_auth_module_too():
    assert airflow_provider_nxcloud.auth.sign is sign


def test_sign_module_imports_no_http_library_and_no_airflow():
    probe = (
        "import sys, airflow_provider_nxcloud.signature;"
        "print({'requests', 'urllib3', 'airflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
