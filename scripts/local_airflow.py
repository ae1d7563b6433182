"""Run the sandbox and a whole local Airflow with its UI, the connection and the example DAGs in place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from demo import DEMO, airflow_environment

from airflow_provider_nxcloud.sandbox import NxCloudSandbox

PORT = os.environ.get("PORT", "8080")


def main() -> None:
    """Run until interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    DEMO.mkdir(exist_ok=True)
    with NxCloudSandbox() as sandbox:
        binaries = Path(sys.executable).parent
        environment = {
            **airflow_environment(sandbox),
            # standalone starts its parts by name.
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "AIRFLOW__API__PORT": PORT,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{PORT}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        }
        print(
            f"NXCloud sandbox: {sandbox.base_url}\nAirflow:         http://localhost:{PORT}  (Ctrl-C ends both)"
        )
        process = subprocess.Popen(
            [str(binaries / "airflow"), "standalone"], env=environment, cwd=DEMO, start_new_session=True
        )
        try:
            process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
