"""The operator that fetches media files from NXCloud into object storage."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_nxcloud.exceptions import ConciseTraceback
from airflow_provider_nxcloud.links import NxCloudDestinationLink
from airflow_provider_nxcloud.templates import MediaIdsTemplate

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath, XComArg
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_nxcloud.media import MediaIds
    from airflow_provider_nxcloud.storage.publishing import Storage
    from airflow_provider_nxcloud.transfer.manifest import Manifest
    from airflow_provider_nxcloud.transfer.transfer import Transfer


class NxCloudGetMediaOperator(MediaIdsTemplate, BaseOperator):
    """
    Fetch the media files of a list of media IDs into object storage, each whole, verified and once.

    An object under its final name is always complete: a media file is staged, verified (length, MD5 or CRC-64
    where the server announces one, SHA-256 where it was given) and only then published in one atomic step.
    Running the task again fetches only what is missing.

    Sources: NXCloud, "WhatsApp API getMedia"; Airflow, "Object Storage".

    :param media_ids: (templated) a list of media IDs and/or of mappings with ``media_id`` and optionally
        ``sha256``, ``mime_type``, ``file_name`` and ``business_phone``, as
        :func:`~airflow_provider_nxcloud.webhook.media_from_webhook` returns; or text holding one. What is in a
        mapping is data: no template in it is rendered (:mod:`airflow_provider_nxcloud.templates`). Duplicates are
        fetched once; an empty list succeeds with an empty result.
    :param destination: (templated) the folder the media files go to: an ``ObjectStoragePath`` or its URL
        (``s3://conn@bucket/prefix``), or an absolute local path.
    :param nxcloud_conn_id: (templated) the NXCloud connection, default ``nxcloud_default``.
    :param storage_conn_id: (templated) the connection of the destination, where its URL names none. Default:
        the worker's own credentials.
    :param business_phone: (templated) the merchant number, for media files whose mapping names none; default: the
        one in the NXCloud connection.
    :param object_name: a :meth:`str.format` pattern over ``media_id``, ``extension`` (from the MIME type) and
        ``file_name`` (the sender's, made safe). Default: ``{media_id}{extension}``.
    :param if_exists: what an object of that name means: ``skip`` (default) leaves it and downloads nothing,
        ``overwrite`` replaces it, ``fail`` counts the media file as failed.
    :param max_workers: how many media files at once, 1 to 256, default 16.
    :param max_media_bytes: a larger media file is refused, in bytes; default 100 MiB, the most that WhatsApp
        allows.
    :param manifest: (templated) a path or URL where the records are written as JSON Lines, also when the task
        fails, each with the further keys of its mapping as ``source``; default: none is written.
    :param ignore_media_errors: succeed although some media files failed, as long as at least one is there;
        default False. The records tell which failed.
    :param write_kwargs: further arguments of the store's write (encryption, ACL, storage class), as its fsspec
        filesystem takes them; default: none.
    :return: (XCom) one record per media ID, in order: ``media_id``, ``status`` (``stored``, ``skipped`` or
        ``failed``), ``uri``, ``size`` in bytes, ``sha256`` (when skipped, only one that the store keeps or that
        was compared), ``mime_type``, ``file_name``, ``error`` (None or text).
    :raises NxCloudInputError: when an argument or the connection is wrong, before anything is fetched.
    :raises NxCloudMediaFailedError: when some media files failed and a retry may fetch them.
    :raises NxCloudMediaLostError: when some media files failed and retrying will not help.
    :raises NxCloudCancelledError: when the task is cancelled before it is done.
    :raises NxCloudError: when something affects all media files: credentials, phone number, destination.
    """

    template_fields: Sequence[str] = (
        "media_ids",
        "destination",
        "nxcloud_conn_id",
        "storage_conn_id",
        "business_phone",
        "manifest",
    )
    ui_color = "#d8f3e6"
    operator_extra_links = (NxCloudDestinationLink(),)

    def __init__(
        self,
        *,
        media_ids: MediaIds | XComArg,
        destination: str | ObjectStoragePath,
        nxcloud_conn_id: str = "nxcloud_default",
        storage_conn_id: str | None = None,
        business_phone: str | None = None,
        object_name: str = "{media_id}{extension}",
        if_exists: str = "skip",
        max_workers: int = 16,
        max_media_bytes: int = 104_857_600,
        manifest: str | None = None,
        ignore_media_errors: bool = False,
        write_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.media_ids = media_ids
        self.destination = destination
        self.nxcloud_conn_id = nxcloud_conn_id
        self.storage_conn_id = storage_conn_id
        self.business_phone = business_phone
        self.object_name = object_name
        self.if_exists = if_exists
        self.max_workers = max_workers
        self.max_media_bytes = max_media_bytes
        self.manifest = manifest
        self.ignore_media_errors = ignore_media_errors
        self.write_kwargs = write_kwargs
        #: Both set by :meth:`on_kill`, which a signal handler may call before and while :meth:`execute` runs.
        self._killed = False
        self._stop: threading.Event | None = None
        #: Destination and counts of the transfer, once there was one.
        self._lineage: tuple[str, dict[str, int]] | None = None

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Fetch the media files; see the class for what is returned and raised."""
        # First of all, so that a kill is noticed from here on.
        self._stop = stop = threading.Event()
        if self._killed:
            stop.set()
        # Imported here and below, because a DAG file pays for whatever this module imports.
        from airflow_provider_nxcloud.telemetry import add_outlet_metadata, report_metrics
        from airflow_provider_nxcloud.transfer.result import count

        with ConciseTraceback():
            storage, manifest, transfer = self._prepare(stop)
            with manifest or nullcontext(), storage:
                result = transfer.run()
                counts = count(result.media)
                self._lineage = (storage.uri(""), counts)
                report_metrics(counts, result.seconds, dag_id=self.dag_id, task_id=self.task_id)
                if manifest:
                    manifest.write(result, stop)
                result.raise_for_failures(ignore_some=self.ignore_media_errors, manifest=self.manifest)
        add_outlet_metadata(context, self.outlets, counts, self.manifest)
        NxCloudDestinationLink.persist(context, storage.console_url())
        return [each.record for each in result.media]

    def _prepare(self, stop: threading.Event) -> tuple[Storage, Manifest | None, Transfer]:
        """Check everything that can be checked before anything is written or fetched."""
        from airflow_provider_nxcloud.concurrency import stoppable_sleep
        from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
        from airflow_provider_nxcloud.media import parse_media_ids
        from airflow_provider_nxcloud.storage.destination import make_storage
        from airflow_provider_nxcloud.transfer.manifest import Manifest
        from airflow_provider_nxcloud.transfer.transfer import Transfer

        items = parse_media_ids(self.media_ids)
        hook = NxCloudHook(self.nxcloud_conn_id, self.business_phone, sleep=stoppable_sleep(stop))
        store = (self.storage_conn_id, self.write_kwargs)
        manifest = None if self.manifest is None else Manifest(self.manifest, *store)
        storage = make_storage(self.destination, *store)
        transfer = Transfer(
            items,
            hook.client if items else None,
            storage,
            manifest_uri=manifest.uri if manifest else None,
            object_name=self.object_name,
            if_exists=self.if_exists,
            max_workers=self.max_workers,
            max_media_bytes=self.max_media_bytes,
            stop=stop,
        )
        return storage, manifest, transfer

    def on_kill(self) -> None:
        """End the running :meth:`execute` within a second or two, or the one that is about to begin."""
        self._killed = True
        if self._stop is not None:
            self._stop.set()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """
        Report NXCloud as input and the destination, with the bytes and files stored, as output.

        Airflow asks a failed task too, which reports how far it came.

        :param task_instance: not needed.
        :return: OpenLineage's ``OperatorLineage``, empty for a task that fetched nothing.
        """
        from airflow.providers.openlineage.extractors import OperatorLineage

        from airflow_provider_nxcloud.telemetry import operator_lineage

        return operator_lineage(*self._lineage) if self._lineage else OperatorLineage()
