"""Amazon S3, and what speaks its protocol, as a destination."""

from __future__ import annotations

import base64
import hashlib
import math
import os
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.storage.errors import response_of
from airflow_provider_nxcloud.storage.object_store import BLOCK_SIZE, ObjectStorage
from airflow_provider_nxcloud.storage.staging import StagedFile

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from fsspec.spec import AbstractBufferedFile

#: Arguments of PutObject that we set for each object, with values that pass validation.
_OURS = {"Bucket": "bucket", "Key": "key", "Body": b"", "ContentLength": 0, "ContentMD5": ""}
#: Left out of look-ups: on HeadObject these conditions mean the opposite.
_CONDITIONS = frozenset({"IfMatch", "IfNoneMatch"})
#: After this many look-ups, list the destination; for this many seconds, keys not in the list are not looked up.
_LOOKS_BEFORE_LISTING = 16
_LISTING_SECONDS = 60.0
#: Seconds that a listing may hold up all look-ups.
_LISTING_TIMEOUT = 5
_REGION = re.compile(
    r"\bs3[.-](?:dualstack\.)?(?:oss-)?([a-z]+-[a-z0-9-]*?)(?:-internal)?"
    r"\.(?:amazonaws|aliyuncs|backblazeb2|wasabisys)\."
)


class S3Storage(ObjectStorage):
    """A prefix in a bucket, through s3fs; what is smaller than a block is written by one call."""

    extra = "s3"
    conn_type = "aws"
    content_type = "ContentType"
    metadata = "Metadata"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lock = threading.Lock()
        self._looks = 0
        #: Some keys that look-ups found: a listing without one of them is not to be believed.
        self._found: set[str] = set()
        #: Every key below the destination, None where one request could not tell them all; then none follows.
        self._listed: set[str] | None = None
        self._listed_until = 0.0

    @staticmethod
    def check_connection(connection: Any) -> None:
        """Raise ValueError for settings that contradict each other, or that Airflow would ignore."""
        extra = connection.extra_dejson
        services = extra.get("service_config") or {}
        service = services.get("s3") or {} if isinstance(services, dict) else services
        if not isinstance(service, dict):
            raise ValueError('service_config must be an object, and what it has for "s3" too')
        endpoint = str(service.get("endpoint_url") or extra.get("endpoint_url") or "")
        if endpoint and not re.match("https?://.", endpoint):
            raise ValueError(f"endpoint_url must begin with https:// or http://, not {endpoint!r}")
        host = (connection.host or "").rpartition("://")[2].partition("/")[0]
        if host and host.partition(":")[0] != urlsplit(endpoint).hostname:
            raise ValueError(f"host {host!r} is ignored by Airflow; put endpoint_url into the extra instead")
        found, region = _REGION.search(endpoint), str(extra.get("region_name") or "")
        if found and region and region.removeprefix("oss-") != found[1]:
            raise ValueError(f"region_name {region!r} differs from the region of endpoint_url {endpoint!r}")
        _check_ca_file("verify", extra.get("verify"))

    def console_url(self) -> str | None:
        """Return the console's page; what only speaks S3 has none."""
        bucket, _, prefix = self._path.partition("/")
        if not (urlsplit(self._fs.s3.meta.endpoint_url).hostname or "").endswith(".amazonaws.com"):
            return None
        query = f"?prefix={quote(prefix, safe='/')}/" if prefix else ""
        return f"https://console.aws.amazon.com/s3/buckets/{quote(bucket)}{query}"

    def _filesystem(self) -> AbstractFileSystem:
        # botocore takes the first of the two.
        name = "AWS_CA_BUNDLE" if os.environ.get("AWS_CA_BUNDLE") else "REQUESTS_CA_BUNDLE"
        _check_ca_file(name, os.environ.get(name))
        fs = super()._filesystem()
        if self._write_kwargs:  # botocore's model takes some 25 ms to load
            _check_arguments(self._write_kwargs)
        # No look at its client: s3fs of early 2026 loses its credentials if that comes before the first call.
        for events in filter(None, (fs.session, fs._s3 and fs._s3.meta.events)):
            for operation in ("PutObject", "UploadPart"):
                event = f"before-parameter-build.s3.{operation}"
                events.register(event, _add_md5, unique_id=f"nxcloud-md5-{operation}")
        return fs

    def _look(self, path: str, fresh: bool) -> tuple[int, Mapping[str, str]]:
        """Return size and metadata: s3fs's own info lists too where there is no object."""
        bucket, key, _ = self._fs.split_path(path)
        # Stores differ in how a listing spells other characters (encoded or not, NFC or NFD).
        if not fresh and quote(key, safe="/=") == key and self._is_absent(key):
            raise FileNotFoundError(path)
        try:
            answer = self._call("head_object", Bucket=bucket, Key=key)
        except Exception as error:
            # The answer to a HEAD has no body that could say why; the one to a GET has.
            if response_of(error) and not isinstance(error, FileNotFoundError):
                self._call("get_object", Bucket=bucket, Key=key, Range="bytes=0-0")
            raise
        _check_answer(answer)
        if len(self._found) < _LOOKS_BEFORE_LISTING:
            self._found.add(key)
        return answer["ContentLength"], answer.get("Metadata") or {}

    def _is_absent(self, key: str) -> bool:
        """Tell what needs no look-up: a key that a recent listing of the whole destination does not have."""
        with self._lock:
            self._looks += 1
            if self._looks > _LOOKS_BEFORE_LISTING and time.monotonic() > self._listed_until:
                self._listed = self._list()
                seconds = math.inf if self._listed is None else _LISTING_SECONDS
                self._listed_until = time.monotonic() + seconds
            return self._listed is not None and key not in self._listed

    def _list(self) -> set[str] | None:
        bucket, folder, _ = self._fs.split_path(self._path)
        with suppress(Exception):  # it may not list, or the store cannot: then each object is looked up
            prefix = f"{folder}/" if folder else ""
            # The time-out is fsspec's, which cancels the call.
            page = self._call("list_objects_v2", Bucket=bucket, Prefix=prefix, timeout=_LISTING_TIMEOUT)
            keys = {each["Key"] for each in page.get("Contents", ())}
            is_believed = self._found <= keys and all(key.startswith(prefix) for key in keys)
            if page["IsTruncated"] is False and is_believed:
                return keys
        return None

    def _call(self, method: str, **arguments: Any) -> Any:
        fs = self._fs
        # s3fs hands each what it takes of these: an SSE-C key, RequestPayer, ExpectedBucketOwner.
        shared = {name: value for name, value in self._write_kwargs.items() if name not in _CONDITIONS}
        return fs.call_s3(method, fs.kwargs, shared, **arguments, **fs.req_kw)

    def _open(self, path: str, size: int, options: Mapping[str, Any]) -> AbstractBufferedFile:
        # Without s3fs's own argument too, it leaves RequestPayer out of the calls of a large write.
        payer = {"requester_pays": True} if "RequestPayer" in options else {}
        return super()._open(path, size, {**options, **payer})

    def _write(
        self, path: str, staged: StagedFile, options: Mapping[str, Any], stop: threading.Event
    ) -> None:
        if staged.size < BLOCK_SIZE:
            content = b"".join(staged.chunks(BLOCK_SIZE))
            _check_answer(self._fs.pipe_file(path, content, **options))
        else:
            super()._write(path, staged, options, stop)


def _check_ca_file(name: str, path: object) -> None:
    if isinstance(path, str) and path and not os.path.exists(path):
        raise NxCloudInputError(f"{name} names a CA file that is not there: {path!r}")


def _check_arguments(write_kwargs: Mapping[str, Any]) -> None:
    """Refuse what botocore would: s3fs drops arguments that it does not know, and looks at values late."""
    from botocore.exceptions import ParamValidationError
    from botocore.handlers import validate_ascii_metadata
    from botocore.session import get_session
    from botocore.validate import validate_parameters

    put = get_session().get_service_model("s3").operation_model("PutObject").input_shape
    try:
        if ours := _OURS.keys() & write_kwargs.keys():
            raise ParamValidationError(report=f"{min(ours)} is different for each media file")
        validate_parameters({**_OURS, **write_kwargs}, put)
        validate_ascii_metadata(write_kwargs)
    except ParamValidationError as error:
        raise NxCloudInputError(f"write_kwargs: {' '.join(error.kwargs['report'].split())}") from error


def _add_md5(params: dict[str, Any], context: Mapping[str, Any], **_: Any) -> None:
    """Have the store refuse bytes that were damaged on the way."""
    # By default botocore sends a CRC32 itself. Where that is off, the store can still verify an MD5.
    if getattr(context.get("client_config"), "request_checksum_calculation", None) == "when_supported":
        return
    body = params.get("Body")
    if isinstance(body, bytes | bytearray | memoryview) and not any(
        name == "ContentMD5" or name.startswith("Checksum") for name in params
    ):
        params["ContentMD5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _check_answer(answer: Any) -> None:
    """Refuse what a proxy or a login page answers in place of the store."""
    if isinstance(answer, dict) and "ETag" not in answer:
        raise ValueError("the answer has no ETag")
