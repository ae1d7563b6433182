"""A sandbox for every test, an Airflow home of its own, and no address but loopback."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Airflow reads its environment when it is imported, so this comes before any import of it.
HOME = os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="nxcloud-tests-")
os.environ.update(
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="True",
    AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS="False",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    AWS_CONFIG_FILE=os.devnull,
    NO_GCE_CHECK="true",
)
for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)

# Its first import puts a filter for warnings in front of pytest's, which make those from our code errors.
import airflow.configuration  # noqa: E402, F401
import hypothesis  # noqa: E402
import pytest  # noqa: E402
from airflow.providers.common.compat.sdk import redact  # noqa: E402
from tenacity import wait_none  # noqa: E402

from airflow_provider_nxcloud.sandbox import NxCloudSandbox  # noqa: E402

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("without a clock", deadline=None)
hypothesis.settings.load_profile("without a clock")

SLOW_TEST_SECONDS = 600
INTEGRATION = Path(__file__).parent / "integration"


# First, so that pytest's own hook sees the marks when it deselects.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if INTEGRATION in item.path.parents:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_TEST_SECONDS))


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch):
    """A running sandbox that ``nxcloud_default`` connects to."""
    with NxCloudSandbox() as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_NXCLOUD_DEFAULT", sandbox.connection_json)
        yield sandbox


@pytest.fixture
def connect(sandbox: NxCloudSandbox, monkeypatch: pytest.MonkeyPatch):
    """Change what ``nxcloud_default`` says: fields by name, and ``extra`` merged into the sandbox's."""

    def connect(**fields):
        connection = sandbox.connection
        connection["extra"] = {**connection["extra"], **fields.pop("extra", {})}
        monkeypatch.setenv("AIRFLOW_CONN_NXCLOUD_DEFAULT", json.dumps({**connection, **fields}))

    return connect


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch):
    """Retry at once, so that a test of what heals does not wait; ``Retry-After`` still counts."""
    monkeypatch.setattr("airflow_provider_nxcloud.http.retries.BACKOFF", wait_none())
    monkeypatch.setattr("airflow_provider_nxcloud.transfer.download.NOT_FOUND_GRACE", 0)


@pytest.fixture
def masker(monkeypatch: pytest.MonkeyPatch):
    """Airflow's masker without what it has learned; Airflow 2 masks the password of each connection made."""
    masker = sys.modules[redact.__module__]._secrets_masker()
    monkeypatch.setattr(masker, "patterns", set())
    monkeypatch.setattr(masker, "replacer", None)
    return masker


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """A folder that does not exist yet."""
    return tmp_path / "out"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that takes every temporary file."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder
