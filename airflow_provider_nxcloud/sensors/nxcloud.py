"""The sensor that waits until media files are available."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_nxcloud import exceptions
from airflow_provider_nxcloud.compat import deferral_timed_out, no_triggerer_runs, same_sensor_outcome
from airflow_provider_nxcloud.exceptions import ConciseTraceback, NxCloudError
from airflow_provider_nxcloud.templates import MediaIdsTemplate

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, XComArg

    from airflow_provider_nxcloud.media import MediaIds, MediaItem

_CHECK_THREADS = 16
_TICK = 1.0
_TIMEOUT_REMEDY = "check these IDs (wrong or older than seven days?), or increase the sensor's timeout"


class NxCloudMediaSensor(MediaIdsTemplate, BaseSensorOperator):
    """
    Wait until all of the media files are available from NXCloud.

    In every mode (``poke``, ``reschedule``, ``deferrable``) the outcome is the same. Not available are media
    files that NXCloud cannot serve now (-1, 9001, no URL) and, with a line in the log, all while its API cannot
    be reached. What waiting can never fix, such as wrong credentials, ends the wait at once. ``soft_fail`` skips
    on a timeout only. ``exponential_backoff`` and ``max_wait`` are for checks from a worker; the triggerer
    keeps to ``poke_interval``.

    Sources: NXCloud, "WhatsApp API getMedia"; Airflow, "Deferrable Operators & Triggers".

    :param media_ids: (templated) the media IDs, in any form that
        :class:`~airflow_provider_nxcloud.operators.nxcloud.NxCloudGetMediaOperator` takes.
    :param nxcloud_conn_id: (templated) the NXCloud connection, default ``nxcloud_default``.
    :param business_phone: (templated) the merchant number; default: the one in the connection.
    :param deferrable: wait in the triggerer instead of on a worker, after a first check on the worker; default:
        Airflow's ``[operators] default_deferrable``.
    :return: (XCom) the list of what was asked for, all available: IDs as IDs, mappings as mappings.
    :raises AirflowSensorTimeout: naming those that are not there after ``timeout`` seconds.
    :raises NxCloudError: the subclass that fits, when waiting can never help.
    """

    template_fields: Sequence[str] = ("media_ids", "nxcloud_conn_id", "business_phone")
    ui_color = "#d8f3e6"

    def __init__(
        self,
        *,
        media_ids: MediaIds | XComArg,
        nxcloud_conn_id: str = "nxcloud_default",
        business_phone: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.media_ids = media_ids
        self.nxcloud_conn_id = nxcloud_conn_id
        self.business_phone = business_phone
        self.deferrable = deferrable
        #: Media files found so far. Not kept between reschedules; that only costs extra calls.
        self._available: frozenset[str] = frozenset()

    def execute(self, context: Context) -> Any:
        """Wait; see the class for what is returned and raised."""
        started = time.monotonic()
        with ConciseTraceback(), same_sensor_outcome(self, self._timeout_error):
            if not self.deferrable:
                return super().execute(context)
            if found := self.poke(context):
                return found.xcom_value
            left = self.timeout - (time.monotonic() - started)
            if left <= 0:
                raise AirflowSensorTimeout
            self._defer(left)

    def poke(self, context: Context) -> PokeReturnValue:
        """Check each media file that was not found yet."""
        items = self._items()
        missing = self._check(items)
        self.log.info(_progress(items, missing))
        return PokeReturnValue(is_done=not missing, xcom_value=_as_given(items))

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> list[Any]:
        """
        Continue after the trigger has ended the wait.

        :param context: Airflow's context.
        :param event: the payload of the trigger's event.
        :return: the list of what was asked for, all available.
        :raises NxCloudError: the error that ended the wait, or when the event is not the trigger's.
        """
        match event:
            case {"status": "success"}:
                return _as_given(self._items())
            case {"status": "error", "message": message, **details}:
                kind = vars(exceptions).get(str(details.get("error")))
                if not (isinstance(kind, type) and issubclass(kind, NxCloudError)):
                    kind = NxCloudError
                raise kind(message)
        raise NxCloudError(f"unexpected trigger event {event!r:.200}", remedy="clear the task to wait again")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral, with the same outcome for a timeout or a crash as without one."""
        with ConciseTraceback(), same_sensor_outcome(self, self._timeout_error):
            if not deferral_timed_out(next_method, next_kwargs):
                return super().resume_execution(next_method, next_kwargs, context)
            try:
                self._check(self._items())
            except NxCloudError as error:
                self.log.warning("Cannot check what is missing: %s", error)
            raise AirflowSensorTimeout

    def _items(self) -> list[MediaItem]:
        from airflow_provider_nxcloud.media import parse_media_ids

        return parse_media_ids(self.media_ids)

    def _check(self, items: list[MediaItem]) -> list[MediaItem]:
        """Check all media files that were not found yet, and return those that are still missing."""
        from airflow_provider_nxcloud.concurrency import run_in_threads
        from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook

        client = NxCloudHook(self.nxcloud_conn_id, self.business_phone).client
        checks = run_in_threads(
            lambda item: client.is_available(item.media_id, item.business_phone),
            self._missing(items),
            threads=_CHECK_THREADS,
            stop=threading.Event(),
            tick=_TICK,
        )
        self._available |= {check[0].media_id for check in checks if check and check[1]}
        return self._missing(items)

    def _missing(self, items: list[MediaItem]) -> list[MediaItem]:
        return [item for item in items if item.media_id not in self._available]

    def _timeout_error(self) -> AirflowException:
        items = self._items()
        progress = _progress(items, self._missing(items))
        text = f"Sensor has timed out after {self.timeout:.0f} seconds; {progress}"
        if self.soft_fail:
            return AirflowSkipException(text)
        for line in NxCloudError(text, remedy=_TIMEOUT_REMEDY).log_lines:
            self.log.error("%s", line)
        return AirflowSensorTimeout(text)

    def _defer(self, timeout: float) -> None:
        from airflow_provider_nxcloud.text import format_duration
        from airflow_provider_nxcloud.triggers.nxcloud import NxCloudMediaTrigger

        if no_triggerer_runs():
            self.log.warning("No triggerer is running: the task stays deferred until one starts")
        self.log.info(
            "Waiting in the triggerer: checking every %s, until %s",
            format_duration(self.poke_interval),
            f"{datetime.now(timezone.utc) + timedelta(seconds=timeout):%Y-%m-%d %H:%M:%S} UTC",
        )
        self.defer(
            trigger=NxCloudMediaTrigger(
                [_for_trigger(item) for item in self._missing(self._items())],
                self.nxcloud_conn_id,
                self.business_phone,
                poke_interval=self.poke_interval,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=timeout),
        )


def _progress(items: list[MediaItem], missing: list[MediaItem]) -> str:
    from airflow_provider_nxcloud.text import name_some

    names = f"; missing: {name_some([item.media_id for item in missing])}" if missing else ""
    return f"{len(items) - len(missing)} of {len(items)} media files available{names}"


def _as_given(items: list[MediaItem]) -> list[Any]:
    return [item.given or item.media_id for item in items]


def _for_trigger(item: MediaItem) -> str | dict[str, str]:
    """Leave out what is not needed to check it: a trigger's arguments are kept in Airflow's database."""
    phone = item.business_phone
    return {"media_id": item.media_id, "business_phone": phone} if phone else item.media_id
