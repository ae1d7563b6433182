"""The operator that brings media from NXCloud into object storage."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_nxcloud.links import XCOM_KEY, NxCloudDestinationLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_nxcloud.transfer import Transfer


class NxCloudGetMediaOperator(BaseOperator):
    """
    Fetch the media of a list of media IDs into object storage, each whole, verified and once.

    An object under its final name is always complete: a media is staged, verified (length, MD5 where the store
    announces it, SHA-256 where it was given) and only then published in one atomic step. Running the task again
    fetches only what is missing.

    Sources: NXCloud, "WhatsApp API getMedia"; Airflow, "Object Storage".

    :param media_ids: (templated) a list of media IDs and/or of mappings with ``media_id`` and optionally
        ``sha256``, ``mime_type`` and ``file_name``, as
        :func:`~airflow_provider_nxcloud.webhook.media_from_webhook` returns; or text holding one. Duplicates are
        fetched once; an empty list succeeds with an empty result.
    :param destination: (templated) the folder the media go to: an ``ObjectStoragePath`` or its URL
        (``s3://conn@bucket/prefix``), or a local path.
    :param nxcloud_conn_id: (templated) the NXCloud connection, default ``nxcloud_default``.
    :param storage_conn_id: (templated) the connection of the destination, where its URL names none. Default:
        the worker's own credentials.
    :param business_phone: (templated) the merchant number; default: the one in the NXCloud connection.
    :param object_name: a :meth:`str.format` pattern over ``media_id``, ``extension`` (from the MIME type) and
        ``file_name`` (the sender's, made safe). Default: ``{media_id}{extension}``.
    :param if_exists: what an object of that name means: ``skip`` (default) leaves it and downloads nothing,
        ``overwrite`` replaces it, ``fail`` counts the media as failed.
    :param max_workers: how many media at once, 1 to 256, default 16.
    :param max_media_bytes: a larger media is refused, in bytes; default 100 MiB, the most WhatsApp allows.
    :param manifest: (templated) a path or URL where the records are written as JSON Lines, also when the task
        fails; default: none is written.
    :param ignore_media_errors: succeed although some media failed, as long as at least one is there; default
        False. The records tell which failed.
    :param write_kwargs: further arguments of the store's write (encryption, ACL, storage class), as its fsspec
        filesystem takes them; default: none.
    :return: (XCom) one record per media ID, in order: ``media_id``, ``status`` (``stored``, ``skipped`` or
        ``failed``), ``uri``, ``size`` in bytes, ``sha256`` (None when skipped), ``mime_type``, ``file_name``,
        ``error`` (None or text).
    :raises NxCloudInputError: when an argument or the connection is wrong, before anything is fetched.
    :raises NxCloudMediaFailedError: when some media failed that a retry may bring.
    :raises NxCloudMediaLostError: when some media failed and no retry can bring them.
    :raises NxCloudCancelledError: when the task is told to stop before it is done.
    :raises NxCloudError: when something concerns all media: credentials, phone number, destination.
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

    #: Both set by :meth:`on_kill`, which a signal handler may call before and while :meth:`execute` runs.
    _killed = False
    _stop: threading.Event | None = None
    #: Destination and counts of the transfer, once there was one.
    _lineage: tuple[str, dict[str, int]] | None = None

    def __init__(
        self,
        *,
        media_ids: Any,
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

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Fetch the media; see the class for what is returned and raised."""
        # First of all, so that a kill is noticed from here on.
        self._stop = stop = threading.Event()
        if self._killed:
            stop.set()
        # Imported here and below, because a DAG file pays for whatever this module imports.
        from airflow_provider_nxcloud.destination import open_storage
        from airflow_provider_nxcloud.lineage import add_outlet_metadata
        from airflow_provider_nxcloud.metrics import report
        from airflow_provider_nxcloud.results import Manifest, count, judge

        transfer = self._prepare(stop)
        with ExitStack() as resources:
            manifest = None
            if self.manifest is not None:
                manifest = Manifest(
                    self.manifest, storage_conn_id=self.storage_conn_id, write_kwargs=self.write_kwargs
                )
                resources.callback(manifest.close)
            storage = open_storage(
                self.destination, storage_conn_id=self.storage_conn_id, write_kwargs=self.write_kwargs
            )
            resources.callback(storage.close)
            result = transfer.run(storage, reserved=manifest.uri if manifest else None)
            records = [outcome.record for outcome in result.outcomes]
            counts = count(records)
            self._lineage = (storage.uri(""), counts)
            tags = {"dag_id": self.dag_id, "task_id": self.task_id}
            report(counts, seconds=result.seconds, tags=tags)
            if manifest is not None and result.ended_by is None:
                manifest.write(records, stop)
            elif manifest is not None:
                manifest.write_in_passing(records)
        judge(result, ignore_media_errors=self.ignore_media_errors)
        add_outlet_metadata(context, self.outlets, counts, self.manifest)
        url = storage.console_url()
        if url and "ti" in context:  # a unit test may have none
            context["ti"].xcom_push(key=XCOM_KEY, value=url)
        return records

    def _prepare(self, stop: threading.Event) -> Transfer:
        """Check everything that can be checked before anything is written or fetched."""
        from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
        from airflow_provider_nxcloud.media import parse_media_ids
        from airflow_provider_nxcloud.transfer import Transfer, interruptible_sleep

        return Transfer(
            parse_media_ids(self.media_ids),
            NxCloudHook(self.nxcloud_conn_id, self.business_phone, sleep=interruptible_sleep(stop)),
            object_name=self.object_name,
            if_exists=self.if_exists,
            max_workers=self.max_workers,
            max_media_bytes=self.max_media_bytes,
            stop=stop,
        )

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

        from airflow_provider_nxcloud.lineage import operator_lineage

        return operator_lineage(*self._lineage) if self._lineage else OperatorLineage()
