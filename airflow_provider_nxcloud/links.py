"""The link from a task to the page that shows its destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context


class NxCloudDestinationLink(BaseOperatorLink):
    """Lead from the task to its destination in the console of Amazon S3 or Google Cloud Storage."""

    name = "Destination"
    _xcom_key = "nxcloud_destination_link"

    @classmethod
    def persist(cls, context: Context, url: str | None) -> None:
        """Leave the address behind; a context without a task instance, as in a unit test, keeps none."""
        if url and "ti" in context:
            context["ti"].xcom_push(key=cls._xcom_key, value=url)

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """
        Return the address that the task left behind.

        :param operator: not needed.
        :param ti_key: the task instance.
        :return: the address; empty where the store has no console, or the task did not get that far.
        """
        from airflow.providers.common.compat.sdk import XCom

        return XCom.get_value(ti_key=ti_key, key=self._xcom_key) or ""
