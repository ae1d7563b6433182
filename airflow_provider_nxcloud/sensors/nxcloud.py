"""The sensor that waits until media can be had."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_LOOK_THREADS = 16
_TICK = 1.0
#: How Airflow tells a resumed task that its trigger failed, and what it then says of a time-out (2.11, 3.x).
_TRIGGER_FAILED = "__fail__"
_TIMED_OUT = ("Trigger/execution timeout", "Trigger timeout")


class NxCloudMediaSensor(BaseSensorOperator):
    """
    Wait until all of some media can be had from NXCloud.

    In every mode (``poke``, ``reschedule``, ``deferrable``) the outcome is the same. Not available are media
    that NXCloud cannot serve now (-1, 9001, no URL) and, with a line in the log, all while its API cannot be
    reached. What waiting can never mend, such as wrong credentials, ends the wait at once. ``soft_fail`` skips
    on a time-out only. ``exponential_backoff`` and ``max_wait`` are for looks from a worker; the triggerer
    keeps to ``poke_interval``.

    Sources: NXCloud, "WhatsApp API getMedia"; Airflow, "Deferrable Operators & Triggers".

    :param media_ids: (templated) the media IDs, in any form that
        :class:`~airflow_provider_nxcloud.operators.nxcloud.NxCloudGetMediaOperator` takes.
    :param nxcloud_conn_id: (templated) the NXCloud connection, default ``nxcloud_default``.
    :param business_phone: (templated) the merchant number; default: the one in the connection.
    :param deferrable: wait in the triggerer instead of on a worker, after a first look on the worker; default:
        Airflow's ``[operators] default_deferrable``.
    :return: (XCom) the list of media IDs, all available.
    :raises AirflowSensorTimeout: when they are not all there after ``timeout`` seconds.
    :raises NxCloudError: the subclass that fits, when waiting can never help.
    """

    template_fields: Sequence[str] = ("media_ids", "nxcloud_conn_id", "business_phone")
    ui_color = "#d8f3e6"

    #: What was seen to be there; lost between the pokes of ``reschedule``, which only costs questions.
    _available: frozenset[str] = frozenset()
    _started: float | None = None

    def __init__(
        self,
        *,
        media_ids: Any,
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

    def execute(self, context: Context) -> Any:
        """Wait; see the class for what is returned and raised."""
        self._started = time.monotonic()
        try:
            return super().execute(context)
        except AirflowSkipException as skip:
            raise self._soft_fail_on_timeout_only(skip) from skip.__cause__

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Ask once for each media that was not seen yet; if some are missing and ``deferrable`` is set, defer.

        Deferring from here, the base class treats an error of this first look as it does in the other modes.
        """
        media_ids = self._media_ids()
        self._available |= self._look([media_id for media_id in media_ids if media_id not in self._available])
        missing = [media_id for media_id in media_ids if media_id not in self._available]
        self.log.info("%d of %d media available", len(media_ids) - len(missing), len(media_ids))
        left = self.timeout if self._started is None else self.timeout - (time.monotonic() - self._started)
        if missing and self.deferrable and left > 0:
            self._defer(missing, left)
        return PokeReturnValue(is_done=not missing, xcom_value=media_ids)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> list[str]:
        """
        Go on after the trigger has ended the wait.

        :param context: Airflow's context.
        :param event: the payload of the trigger's event.
        :return: the list of media IDs, all available.
        :raises NxCloudError: the error that ended the wait, or when the event is none of the trigger's.
        """
        from airflow_provider_nxcloud import exceptions

        status = event.get("status") if isinstance(event, Mapping) else None
        if event is not None and status == "success":
            return self._media_ids()
        if event is None or status != "error" or "message" not in event:
            raise exceptions.NxCloudError(
                f"the trigger ended with an event that is none of its own: {event!r}"
            )
        kind = vars(exceptions).get(str(event.get("error")))
        if not (isinstance(kind, type) and issubclass(kind, AirflowException)):
            kind = exceptions.NxCloudError
        raise kind(event["message"])

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, with the same outcome for a time-out or a crash as without one."""
        if next_method == _TRIGGER_FAILED and (next_kwargs or {}).get("error") in _TIMED_OUT:
            # Airflow 2 raises the same error for this as for a trigger that crashed.
            message = f"Sensor has timed out; its media were not all available after {self.timeout:g} seconds"
            raise (AirflowSkipException if self.soft_fail else AirflowSensorTimeout)(message)
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skip:
            raise self._soft_fail_on_timeout_only(skip) from skip.__cause__
        except AirflowException as error:
            if not self.never_fail:
                raise
            # Airflow 2 does this only where it has not deferred.
            raise AirflowSkipException("Skipping due to never_fail is set to True.") from error

    def _media_ids(self) -> list[str]:
        from airflow_provider_nxcloud.media import parse_media_ids

        return [item.media_id for item in parse_media_ids(self.media_ids)]

    def _look(self, media_ids: list[str]) -> set[str]:
        from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
        from airflow_provider_nxcloud.workers import run_in_threads

        hook = NxCloudHook(self.nxcloud_conn_id, self.business_phone)
        if media_ids:
            hook.get_conn()  # made here, because making it lazily in many threads is not safe
        looks = run_in_threads(
            hook.is_available, media_ids, threads=_LOOK_THREADS, stop=threading.Event(), tick=_TICK
        )
        return {look[0] for look in looks if look and look[1]}

    def _defer(self, missing: list[str], timeout: float) -> None:
        from airflow_provider_nxcloud.compat import no_triggerer_runs
        from airflow_provider_nxcloud.triggers.nxcloud import NxCloudMediaTrigger

        if no_triggerer_runs():
            self.log.warning(
                "No triggerer is running; until one is, nobody looks again (but dag.test() does)"
            )
        self.defer(
            trigger=NxCloudMediaTrigger(
                missing, self.nxcloud_conn_id, self.business_phone, poke_interval=self.poke_interval
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=timeout),
        )

    def _soft_fail_on_timeout_only(self, skip: AirflowSkipException) -> BaseException:
        """Undo the base class's skip on whatever stops a task for good; a time-out is what has no cause."""
        cause = skip.__cause__
        return cause if self.soft_fail and isinstance(cause, Exception) else skip
