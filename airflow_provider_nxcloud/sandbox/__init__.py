"""
A stand-in for NXCloud on the loopback interface, because NXCloud has no public test system.

It serves the signed API with every documented code, and downloads behind signed, expiring URLs as Alibaba
Cloud OSS does, from the standard library alone. ``python -m airflow_provider_nxcloud.sandbox`` starts one and
prints the connection to use; in tests it is a context manager::

    with NxCloudSandbox() as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_NXCLOUD_DEFAULT", sandbox.connection_json)
        sandbox.inject("download.cut", media_id="1001", at=0.5)

Its access key and secret are published test values: they protect nothing.
"""

from __future__ import annotations

from airflow_provider_nxcloud.sandbox.media import SandboxMedia
from airflow_provider_nxcloud.sandbox.server import NxCloudSandbox
from airflow_provider_nxcloud.sandbox.state import SandboxRequest

__all__ = ["NxCloudSandbox", "SandboxMedia", "SandboxRequest"]
