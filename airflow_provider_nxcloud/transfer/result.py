"""What a finished transfer means: records and counts, success or the error that fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_nxcloud.exceptions import (
    NxCloudError,
    NxCloudMediaFailedError,
    NxCloudMediaLostError,
    NxCloudMediaRefusedError,
)
from airflow_provider_nxcloud.media import MediaItem
from airflow_provider_nxcloud.text import MAX_NAMED, name_some

#: What an error shows at most: causes, and characters of a cause and of its first place.
_MAX_CAUSES = 5
_MAX_CAUSE_LENGTH = 300
_MAX_PLACE_LENGTH = 300


@dataclass(frozen=True)
class MediaResult:
    """What became of one media file: ``stored``, ``skipped``, or ``failed`` with the error."""

    item: MediaItem
    status: str
    uri: str | None = None
    size: int | None = None
    sha256: str | None = None
    error: NxCloudError | None = None

    @property
    def record(self) -> dict[str, Any]:
        """What XCom has of it."""
        return {
            "media_id": self.item.media_id,
            "status": self.status,
            "uri": self.uri,
            "size": self.size,
            "sha256": self.sha256,
            "mime_type": self.item.mime_type,
            "file_name": self.item.file_name,
            "error": str(self.error) if self.error else None,
        }


def count(results: Iterable[MediaResult]) -> dict[str, int]:
    """Return how many media files were ``stored``, ``skipped`` and ``failed``, and the ``bytes`` stored now."""
    counts = {"stored": 0, "skipped": 0, "failed": 0, "bytes": 0}
    for each in results:
        counts[each.status] += 1
        if each.status == "stored":
            counts["bytes"] += each.size or 0
    return counts


@dataclass(frozen=True)
class TransferResult:
    """What became of a transfer: each media file in order, what ended it early, how many seconds it took."""

    media: Sequence[MediaResult]
    aborted_by: BaseException | None
    seconds: float

    def raise_for_failures(self, *, ignore_some: bool, manifest: str | None = None) -> None:
        """Raise when this is a failure."""
        if self.aborted_by is not None:
            raise self.aborted_by
        failed = {each.item.media_id: each.error for each in self.media if each.error}
        if not failed or (ignore_some and len(failed) < len(self.media)):
            return
        lost = sum(isinstance(error, NxCloudMediaRefusedError) for error in failed.values())
        kind = NxCloudMediaLostError if lost == len(failed) else NxCloudMediaFailedError
        retried = f"{len(failed) - lost} of them" if lost else "them"
        advice = "Retrying will not help" if lost == len(failed) else f"A task retry tries {retried} again"
        if manifest:
            advice = f"{advice}; the manifest {manifest!r} lists all"
        elif len(failed) > 1:
            advice = f"{advice}; set manifest to have all of them listed"
        causes = _group_by_cause(failed)
        counts = f"{len(failed)} of {len(self.media)} media files failed: " if len(self.media) > 1 else ""
        error = kind(counts + "\n".join([*map(str, causes), advice]))
        error.causes = causes
        raise error


def _group_by_cause(failed: Mapping[str, NxCloudError]) -> list[NxCloudError]:
    """Return an error for each cause, the most frequent first, that names some of its media files."""
    groups: dict[str, list[str]] = {}
    for media_id, error in failed.items():
        groups.setdefault(error.summary, []).append(media_id)
    largest = sorted(groups.values(), key=len, reverse=True)[:_MAX_CAUSES]
    causes = [_group(failed[ids[0]], ids, MAX_NAMED // len(largest)) for ids in largest]
    others = len(failed) - sum(map(len, largest))
    return causes + [NxCloudError("other causes", place=f"{others} media files")] * (others > 0)


def _group(first: NxCloudError, media_ids: Sequence[str], named: int) -> NxCloudError:
    place = first.place
    if len(media_ids) > 1:
        names = name_some(media_ids, named)
        place = f"{len(media_ids)} media files: {names}; the first: {place[:_MAX_PLACE_LENGTH]}"
    return NxCloudError(first.cause[:_MAX_CAUSE_LENGTH], remedy=first.remedy, place=place)
