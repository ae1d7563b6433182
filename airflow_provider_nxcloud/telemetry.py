"""What Airflow's metrics, lineage and assets are told about a finished transfer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import Asset, Stats

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


def report_metrics(counts: Mapping[str, int], seconds: float, **tags: str) -> None:
    """Count what was done, wherever ``[metrics]`` of Airflow's configuration sends it."""
    for name, count in counts.items():
        Stats.incr(f"nxcloud.media.{name}", count, tags=tags)
    Stats.timing("nxcloud.transfer.duration", seconds * 1000, tags=tags)


def add_outlet_metadata(
    context: Any, outlets: Iterable[object], counts: Mapping[str, int], manifest: str | None
) -> None:
    """Give the asset events of the declared outlets the counts and bytes of the transfer."""
    events = context.get("outlet_events")
    if events is None:
        return
    extra: dict[str, Any] = dict(counts)
    if manifest is not None:
        extra["manifest"] = manifest
    for outlet in outlets:
        if isinstance(outlet, Asset):
            events[outlet].extra.update(extra)


def operator_lineage(destination: str, counts: Mapping[str, int]) -> OperatorLineage[Any, Any]:
    """Describe a transfer to OpenLineage."""
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    place = urlsplit(destination)
    host = place.netloc.rpartition("@")[2]
    return OperatorLineage(
        inputs=[Dataset(namespace="nxcloud", name="whatsapp/media")],
        outputs=[
            OutputDataset(
                namespace=f"{place.scheme}://{host}" if host else place.scheme,
                name=(place.path.strip("/") if host else place.path.rstrip("/")) or "/",
                outputFacets={
                    "outputStatistics": OutputStatisticsOutputDatasetFacet(
                        size=counts["bytes"], fileCount=counts["stored"]
                    )
                },
            )
        ],
    )
