"""The link from a task to the page that shows its destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

XCOM_KEY = "nxcloud_destination_link"


class NxCloudDestinationLink(BaseOperatorLink):
    """Lead from the task to its destination in the console of Amazon S3 or Google Cloud Storage."""

    name = "Destination"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """
        Return the address that the task left behind.

        :param operator: not needed.
        :param ti_key: the task instance.
        :return: the address; empty where the store has no console, or the task did not get that far.
        """
        from airflow.providers.common.compat.sdk import XCom

        return XCom.get_value(ti_key=ti_key, key=XCOM_KEY) or ""


def console_url(scheme: str, path: str, endpoint: str | None) -> str | None:
    """
    Return where a cloud's console shows a prefix.

    Azure's portal has no address that container and account alone lead to, and what only speaks S3 is not
    Amazon's: both have none.

    :param scheme: the destination's scheme.
    :param path: bucket and prefix, without a slash at the end.
    :param endpoint: the URL at which the store is reached.
    :return: the page's URL, None where there is none.
    """
    host = urlsplit(endpoint or "").hostname or ""
    bucket, _, prefix = path.partition("/")
    if scheme in ("s3", "s3a") and host.endswith(".amazonaws.com"):
        query = f"?prefix={quote(prefix, safe='/')}/" if prefix else ""
        return f"https://console.aws.amazon.com/s3/buckets/{quote(bucket)}{query}"
    if scheme in ("gs", "gcs") and host == "storage.googleapis.com":
        return f"https://console.cloud.google.com/storage/browser/{quote(path, safe='/')}"
    return None
