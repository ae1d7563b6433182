"""What differs between Airflow's versions and not every allowed ``common-compat`` evens out."""

from __future__ import annotations

try:
    from airflow.sdk.log import mask_secret
except ImportError:
    try:  # Airflow 3.0
        from airflow.sdk.execution_time.secrets_masker import mask_secret  # type: ignore[no-redef]
    except ImportError:  # Airflow 2.11
        from airflow.utils.log.secrets_masker import (  # type: ignore[import-not-found,no-redef]
            mask_secret,
        )

__all__ = ["mask_secret"]
