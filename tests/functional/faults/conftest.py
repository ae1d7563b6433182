"""One media through one fault, and what may be left behind afterwards."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from airflow_provider_nxcloud.sandbox.media import SandboxMedia

OLDER = b"an older object, good and whole"


@dataclass
class Run:
    """What one run of the operator gave; the records come from the manifest, so they are there on failure too."""

    records: list[dict[str, Any]]
    error: Exception | None

    @property
    def record(self) -> dict[str, Any]:
        (record,) = self.records
        return record


@pytest.fixture
def photo(sandbox: NxCloudSandbox) -> SandboxMedia:
    """A media too large for staging in memory, so that what is staged are files."""
    return sandbox.add_media(random.Random(7).randbytes(1_500_000), "image/jpeg", media_id="photo-1")


@pytest.fixture
def target(destination: Path) -> Path:
    """Where the photo ends up."""
    return destination / "photo-1.jpg"


@pytest.fixture
def fetch(sandbox: NxCloudSandbox, destination: Path, tmp_path: Path, temporary: Path) -> Callable[..., Run]:
    """Run the operator over HTTP; by default it overwrites."""
    manifest = tmp_path / "records" / "manifest.jsonl"

    def fetch(media_ids: Any, **arguments: Any) -> Run:
        operator = NxCloudGetMediaOperator(
            task_id="fetch",
            media_ids=media_ids,
            **{
                "destination": str(destination),
                "manifest": str(manifest),
                "if_exists": "overwrite",
                **arguments,
            },
        )
        error = None
        try:
            operator.execute(context={})
        except Exception as raised:  # noqa: BLE001, it is what the tests look at
            error = raised
        lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else []
        return Run([json.loads(line) for line in lines], error)

    return fetch


@pytest.fixture
def kept(target: Path, tmp_path: Path, temporary: Path) -> Callable[[], None]:
    """Start with an older object; call it to check that the failed run left exactly that."""
    target.parent.mkdir()
    target.write_bytes(OLDER)

    def check() -> None:
        assert list(temporary.iterdir()) == []
        assert [path.name for path in (tmp_path / "records").rglob("*")] == ["manifest.jsonl"]
        left = {path: path.read_bytes() if path.is_file() else None for path in target.parent.rglob("*")}
        assert left == {target: OLDER}

    return check
