"""What Alibaba OSS refuses of the S3 protocol, in front of a server that refuses less."""

from __future__ import annotations

import base64
import hashlib
from email.message import Message

from recording_proxy import RecordingProxy

#: Buckets are addressed below it only.
HOST = "s3.oss-test.localhost"


class OssProxy(RecordingProxy):
    """Takes virtual-hosted requests alone, no ``aws-chunked`` body, and verifies a Content-MD5."""

    def refusal(self, method: str, target: str, headers: Message, body: bytes) -> tuple[int, bytes] | None:
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        if not headers["Host"].partition(":")[0].endswith(f".{HOST}"):
            return _error(403, "SecondLevelDomainForbidden", "Please use virtual hosted style to access.")
        if "aws-chunked" in headers.get("Content-Encoding", "") or headers.get(
            "x-amz-content-sha256", ""
        ).startswith("STREAMING-"):
            return _error(400, "InvalidArgument", "aws-chunked encoding is not supported.")
        if headers.get("Content-MD5", md5) != md5:
            return _error(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
        return super().refusal(method, target, headers, body)


def _error(status: int, code: str, message: str) -> tuple[int, bytes]:
    text = (
        f"<Code>{code}</Code><Message>{message}</Message><RequestId>6745</RequestId><HostId>{HOST}</HostId>"
    )
    return (
        status,
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}<EC>0016-00000005</EC></Error>'.encode(),
    )
