"""Google Cloud Storage and Azure, and which class serves which URL scheme."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_provider_nxcloud.storage.object_store import BLOCK_SIZE, CHUNK_BYTES, ObjectStorage
from airflow_provider_nxcloud.storage.s3 import S3Storage

if TYPE_CHECKING:
    from fsspec.spec import AbstractBufferedFile


class GoogleStorage(ObjectStorage):
    """Google Cloud Storage through gcsfs, which compares the MD5 only after the upload."""

    extra = "gcs"
    conn_type = "google_cloud_platform"
    content_type = "content_type"
    metadata = "metadata"

    def console_url(self) -> str | None:
        """Return the console's page; an emulator has none."""
        if urlsplit(self._fs._location).hostname != "storage.googleapis.com":
            return None
        return f"https://console.cloud.google.com/storage/browser/{quote(self._path, safe='/')}"

    def _open(self, path: str, size: int, options: Mapping[str, Any]) -> AbstractBufferedFile:
        # gcsfs verifies nothing when the last block is empty.
        block_size = next(block for block in count(BLOCK_SIZE, CHUNK_BYTES) if size % block or not size)
        return self._fs.open(path, "wb", block_size=block_size, **{"consistency": "md5", **options})

    def _write(self, path: str, *arguments: Any) -> None:
        try:
            super()._write(path, *arguments)
        except Exception as error:
            if type(error).__name__ == "ChecksumError":
                self._fs.rm_file(path)
            raise


class AzureStorage(ObjectStorage):
    """
    Azure Blob Storage through adlfs.

    Several types of connection are right. Container and account alone lead to no page of Azure's portal.
    """

    extra = "azure"
    content_type = "content_settings"
    metadata = "metadata"

    def _open(self, path: str, size: int, options: Mapping[str, Any]) -> AbstractBufferedFile:
        from azure.storage.blob import ContentSettings

        mime_type = options.get(self.content_type)
        if isinstance(mime_type, str):
            options = {**options, self.content_type: ContentSettings(content_type=mime_type)}
        upload = super()._open(path, size, options)
        get_blob_client = upload.container_client.get_blob_client

        def get_validating_client(*args: Any, **kwargs: Any) -> Any:
            """Have Azure refuse damaged blocks, which adlfs has no argument for."""
            client = get_blob_client(*args, **kwargs)
            stage = client.stage_block
            client.stage_block = lambda *, data, **rest: stage(
                data=bytes(data), validate_content=True, **rest
            )
            return client

        upload.container_client.get_blob_client = get_validating_client
        return upload


_STORAGES: dict[str, type[ObjectStorage]] = {
    **dict.fromkeys(("s3", "s3a"), S3Storage),
    **dict.fromkeys(("gs", "gcs"), GoogleStorage),
    **dict.fromkeys(("abfs", "abfss", "adl"), AzureStorage),
}


def storage_for(scheme: str) -> type[ObjectStorage]:
    """Return what a URL's scheme needs, :class:`ObjectStorage` itself for one that nothing is known of."""
    return _STORAGES.get(scheme, ObjectStorage)
