"""What OpenLineage is told; tests/integration/airflow/test_get_media_in_airflow.py has Airflow send it."""

from __future__ import annotations

import pytest

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

pytest.importorskip("airflow.providers.openlineage")

COUNTS = {"stored": 2, "skipped": 1, "failed": 0, "bytes": 300}


@pytest.mark.parametrize(
    ("destination", "namespace", "name"),
    [
        ("s3://aws_default@bucket/in/2026/", "s3://bucket", "in/2026"),
        ("s3://bucket/", "s3://bucket", "/"),
        (
            "abfs://conn@container@account.dfs.core.windows.net/in",
            "abfs://account.dfs.core.windows.net",
            "in",
        ),
        ("file:///data/whatsapp/", "file", "/data/whatsapp"),
        ("file:///", "file", "/"),
    ],
)
def test_destination_is_named_as_openlineage_names_it_without_the_connection(destination, namespace, name):
    from airflow_provider_nxcloud.telemetry import operator_lineage

    lineage = operator_lineage(destination, COUNTS)

    assert [(each.namespace, each.name) for each in lineage.inputs] == [("nxcloud", "whatsapp/media")]
    assert [(each.namespace, each.name) for each in lineage.outputs] == [(namespace, name)]


def test_operator_reports_what_it_stored_in_this_run(sandbox, destination):
    operator = NxCloudGetMediaOperator(
        task_id="fetch", media_ids=["1000000001"], destination=str(destination)
    )
    assert operator.get_openlineage_facets_on_complete(None).outputs == []
    (record,) = operator.execute(context={})

    (output,) = operator.get_openlineage_facets_on_complete(None).outputs

    statistics = output.outputFacets["outputStatistics"]
    assert (output.name, statistics.fileCount, statistics.size) == (str(destination), 1, record["size"])
