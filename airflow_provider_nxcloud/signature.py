"""NXCloud's request signature: a pure function, without a clock and without an HTTP library."""

from __future__ import annotations

import hashlib


def sign(
    *,
    access_key: str,
    action: str,
    biz_type: str,
    ts: str,
    body: str | bytes | None,
    access_secret: str,
) -> str:
    """
    Return the ``sign`` header of one call.

    Source: NXCloud, "API Interface Invocation Convention".

    :param access_key: who calls, the ``accessKey`` header.
    :param action: the operation, for example ``getMedia``; also the last segment of the path.
    :param biz_type: the business type; ``"2"`` is WhatsApp.
    :param ts: milliseconds since the epoch, as text.
    :param body: the request body exactly as it is sent, text being encoded as UTF-8; None or empty (and
        for ``multipart/form-data`` always None) leaves the body out of the signature.
    :param access_secret: the secret that belongs to the access key.
    :return: 32 lowercase hexadecimal digits.
    """
    digest = hashlib.md5(
        f"accessKey={access_key}&action={action}&bizType={biz_type}&ts={ts}".encode(), usedforsecurity=False
    )
    if body:
        digest.update(b"&body=" + (body.encode() if isinstance(body, str) else body))
    digest.update(f"&accessSecret={access_secret}".encode())
    return digest.hexdigest()
