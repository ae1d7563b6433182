"""Whether the bytes that came are the media file: a proof outranks what a server says of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from airflow_provider_nxcloud.exceptions import TEMPORARY, NxCloudDownloadError, NxCloudMediaRefusedError
from airflow_provider_nxcloud.http.headers import content_md5, etag_md5, real_encoding
from airflow_provider_nxcloud.media import Media
from airflow_provider_nxcloud.storage.staging import StagedFile
from airflow_provider_nxcloud.text import OncePerCause
from airflow_provider_nxcloud.transfer.content_checks import HEAD_BYTES, check_content, check_content_type
from airflow_provider_nxcloud.transfer.crc64 import CHUNK_LIMIT, announced_crc64, has_crc64

log = logging.getLogger(__name__)

_ETAG_IS_NO_MD5 = "The ETag looks like an MD5 and is none"


class Verifier:
    """
    Accept the bytes of one media file, or raise the error that fits.

    What decides, in this order: a given SHA-256 that matches, whatever the headers say; the MD5 of Content-MD5
    or ETag, or OSS's CRC-64; only without any of them, Content-Type and the first bytes.
    """

    def __init__(self, media: Media, sha256: str | None, log_once: OncePerCause) -> None:
        self._media_id = media.media_id
        self._mime_type = media.mime_type
        self._sha256 = sha256
        self._log_once = log_once
        self._content_type: str | None = None
        self._encodings = ""
        self._content_md5: str | None = None
        self._etag_md5: str | None = None
        self._crc64: int | None = None
        #: SHA-256 of each download that differed from the ETag.
        self._contradicted: list[str] = []

    def expect(self, headers: Mapping[str, str], *, resumed: bool) -> None:
        """Take in the headers of a response, and refuse it at once if nothing in its body could save it."""
        encodings = headers.get("Content-Encoding"), headers.get("Transfer-Encoding")
        self._encodings = ",".join(filter(None, encodings))
        if not resumed:
            self._content_type = headers.get("Content-Type")
            self._content_md5, self._etag_md5 = content_md5(headers), etag_md5(headers)
            self._crc64 = announced_crc64(headers)
        if not self._sha256:
            self._check_encoding(proven=self._has_hash)
            if not self._has_hash:
                check_content_type(self._mime_type, self._content_type)

    def has_given_sha256(self, staged: StagedFile) -> bool:
        """Return whether the staged bytes are proven, even if the response that brought them is broken."""
        return self._sha256 is not None and self._sha256 == staged.sha256

    def verify(self, staged: StagedFile, *, delimited: bool) -> None:
        """Accept the staged bytes or raise; ``delimited`` tells whether the response itself says they are all."""
        if self.has_given_sha256(staged):
            return
        proven = self._is_proven(staged)
        self._check_encoding(proven=proven)
        if not proven:
            check_content_type(self._mime_type, self._content_type)
        check_content(self._mime_type, staged.head(HEAD_BYTES), proven=proven)
        if self._sha256 and proven:
            raise NxCloudMediaRefusedError(
                "NXCloud's file has another sha256 than the one given in media_ids",
                remedy="check where the sha256 comes from",
                place=f"given {self._sha256}, received {staged.sha256}",
            )
        if self._sha256 or (self._has_hash and not proven and not self._is_etag_no_md5(staged, delimited)):
            raise NxCloudDownloadError(
                "the downloaded bytes are corrupt: their hash does not match", remedy=TEMPORARY
            )
        if not staged.size:
            raise NxCloudDownloadError("the server sent an empty file", remedy=TEMPORARY)
        if not delimited and not proven:
            raise NxCloudDownloadError(
                "the server gave neither a length nor a hash, so the download cannot be verified",
                remedy="give its sha256 in media_ids, or check whether a proxy changes what passes",
            )

    @property
    def _has_hash(self) -> bool:
        return bool(self._content_md5 or self._etag_md5) or self._crc64 is not None

    def _is_proven(self, staged: StagedFile) -> bool:
        """Return whether a hash of the server's is that of the staged bytes."""
        if (self._content_md5 or self._etag_md5) and staged.md5 in (self._content_md5, self._etag_md5):
            return True
        return self._crc64 is not None and has_crc64(staged.chunks(CHUNK_LIMIT), self._crc64)

    def _check_encoding(self, *, proven: bool) -> None:
        if encoding := real_encoding(self._encodings, proven=proven):
            raise NxCloudDownloadError(
                "the server encoded the content although identity was asked, so it cannot be verified",
                remedy="check whether a proxy compresses on the way",
                place=f"{encoding!r:.40}",
            )

    def _is_etag_no_md5(self, staged: StagedFile, delimited: bool) -> bool:
        """Tell whether the ETag only looks like an MD5: whole downloads agree, but not with it."""
        self._contradicted.append(staged.sha256)
        same_bytes = len(self._contradicted) > 1 and len(set(self._contradicted)) == 1
        if self._content_md5 or self._crc64 is not None or not delimited or not same_bytes:
            return False
        log.log(
            logging.WARNING if self._log_once.is_due(_ETAG_IS_NO_MD5) else logging.DEBUG,
            "%s: %d downloads of media file %r gave the same %d bytes",
            _ETAG_IS_NO_MD5,
            len(self._contradicted),
            self._media_id,
            staged.size,
        )
        return True
