"""Each storage server once, each test with connections of its own."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# Against an emulator gcsfs would look for gRPC endpoints for minutes.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

from oss import HOST
from recording_proxy import FOLDER
from stores import STORES, Store

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sandbox import NxCloudSandbox


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssl.SSLContext]:
    """The certificate of every server on loopback, whose authority is trusted as the documentation tells."""
    import trustme

    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", HOST, f"*.{HOST}").configure_cert(context)
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    look_up = socket.getaddrinfo

    def look_up_localhost(host: Any, *arguments: Any, **options: Any) -> Any:
        # What the resolver of a machine makes of names below localhost differs.
        on_loopback = isinstance(host, str) and host.endswith(".localhost")
        return look_up("127.0.0.1" if on_loopback else host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CA_BUNDLE", str(path))
        patch.setenv("SSL_CERT_FILE", str(path))
        patch.setattr(socket, "getaddrinfo", look_up_localhost)
        yield context


@pytest.fixture(scope="session", params=STORES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: ssl.SSLContext
) -> Iterator[Store]:
    """A running storage server."""
    store = STORES[request.param](tmp_path_factory.mktemp(request.param), certificate)
    yield store
    store.close()


@pytest.fixture
def store(server: Store, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The storage server, with a connection to it."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{server.conn_id.upper()}", json.dumps(server.connection()))
    server.proxy.prefix = prefix
    server.proxy.reset()
    yield server
    server.proxy.reset()


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A prefix that no other test writes to."""
    return f"{FOLDER}{abs(hash(request.node.nodeid))}"


@pytest.fixture
def fetch(sandbox: NxCloudSandbox, store: Store, prefix: str) -> Callable[..., list[dict[str, Any]]]:
    """Execute the operator with the store as its destination."""

    def fetch(media_ids: Any, **arguments: Any) -> list[dict[str, Any]]:
        destination = f"{store.scheme}://{store.conn_id}@{store.bucket}/{prefix}"
        operator = NxCloudGetMediaOperator(
            task_id="fetch", media_ids=media_ids, **{"destination": destination, **arguments}
        )
        return operator.execute(context={})

    return fetch
