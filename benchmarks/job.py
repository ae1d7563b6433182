"""What every contender is asked to do, and the signed call that they share."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace

from server import ACCESS_KEY, ACCESS_SECRET, PHONE

from airflow_provider_nxcloud.signature import sign

#: IDs fetched before the clock starts.
WARM_UP = 4


@dataclass(frozen=True)
class Job:
    """
    Fetch these media to there.

    :param base_url: where the API is.
    :param media_ids: what to fetch.
    :param workers: how many at once.
    :param destination: a folder, or for the contenders that write to S3 a URL without a connection.
    :param sha256: of the content of every media file.
    :param s3_endpoint: where S3 is, empty where it is not needed.
    :param source: for copies from disk: the folder of files to copy.
    """

    base_url: str
    media_ids: list[str] = field(repr=False)
    workers: int
    destination: str
    sha256: str
    s3_endpoint: str = ""
    source: str = ""

    def warm_up(self) -> Job:
        """
        Return a small job of the same kind, so that imports and first-time costs count for nobody.

        It goes to ``…-warm``; a copy from disk finds one file in its folder of that name.
        """
        return replace(
            self,
            media_ids=[f"{media_id}-warm" for media_id in self.media_ids[:WARM_UP]],
            destination=f"{self.destination}-warm",
            source=f"{self.source}-warm",
        )

    @property
    def api_url(self) -> str:
        """Where getMedia is called."""
        return f"{self.base_url}/api/wa/getMedia"


def signed_call(media_id: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a getMedia call."""
    body = json.dumps(
        {"business_phone": PHONE, "messaging_product": "whatsapp", "Media-ID": media_id}
    ).encode()
    ts = str(int(time.time() * 1000))
    signature = sign(
        access_key=ACCESS_KEY, action="getMedia", biz_type="2", ts=ts, body=body, access_secret=ACCESS_SECRET
    )
    headers = {"accessKey": ACCESS_KEY, "ts": ts, "bizType": "2", "action": "getMedia", "sign": signature}
    return {"Content-Type": "application/json", **headers}, body
