"""What Airflow asks every installed provider, in every process: it imports next to nothing."""

from __future__ import annotations

from typing import Any

from airflow_provider_nxcloud import __version__
from airflow_provider_nxcloud.connection.form import conn_fields, ui_field_behaviour

_NAME = "NXCloud"


def get_provider_info() -> dict[str, Any]:
    """
    Describe this provider.

    :return: the description, valid against ``provider_info.schema.json`` of Airflow.
    """
    return {
        "package-name": "airflow-provider-nxcloud",
        "name": _NAME,
        "description": "Brings WhatsApp media received through NXCloud into your own object storage.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _NAME,
                "external-doc-url": "https://www.nxcloud.com/",
                "tags": ["service"],
            }
        ],
        **{
            kind: [
                {"integration-name": _NAME, "python-modules": [f"airflow_provider_nxcloud.{kind}.nxcloud"]}
            ]
            for kind in ("hooks", "operators", "sensors", "triggers")
        },
        "extra-links": ["airflow_provider_nxcloud.links.NxCloudDestinationLink"],
        "connection-types": [
            {
                "connection-type": "nxcloud",
                "hook-class-name": "airflow_provider_nxcloud.hooks.nxcloud.NxCloudHook",
                "hook-name": _NAME,
                "ui-field-behaviour": ui_field_behaviour(),
                "conn-fields": conn_fields(),
            }
        ],
    }
