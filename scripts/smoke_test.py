"""Install the built wheel into an environment of its own and see that Airflow finds the provider."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

BIN = Path(sys.executable).parent
CHECK = """
import airflow.version
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
from airflow_provider_nxcloud import __version__
assert ProvidersManager().providers["airflow-provider-nxcloud"].version == __version__
assert ProvidersManagerTaskRuntime().hooks["nxcloud"].hook_name == "NXCloud"
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
assert len(NxCloudSandbox().media) >= 10
print("wheel", __version__, "works with Airflow", airflow.version.version)
"""


def main(dist: Path) -> None:
    """Check the files, then the installed wheel."""
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert folders == {"airflow_provider_nxcloud", f"{wheel.name.split('-py3')[0]}.dist-info"}, folders
    assert "airflow_provider_nxcloud/py.typed" in names
    examples = {
        f"airflow_provider_nxcloud/{path}" for path in Path().glob("example_dags/example_nxcloud_*.py")
    }
    assert examples <= set(names), examples - set(names)
    run(BIN / "twine", "check", "--strict", wheel, *dist.glob("*.tar.gz"))
    with tempfile.TemporaryDirectory() as scratch:
        python = Path(scratch, "venv", "bin", "python")
        airflow = run(
            BIN / "python", "-c", "import importlib.metadata as m; print(m.version('apache-airflow'))"
        )
        run(BIN / "uv", "venv", "--quiet", "--python", BIN / "python", Path(scratch, "venv"))
        # What this environment has, the other one gets too.
        pins = Path(scratch, "pins.txt")
        pins.write_text(
            run(BIN / "uv", "pip", "freeze", "--quiet", "--exclude-editable", "--python", BIN / "python")
        )
        run(
            *(BIN / "uv", "pip", "install", "--quiet", "--python", python, "--constraints", pins),
            *(wheel, f"apache-airflow=={airflow.strip()}"),
        )
        print(run(python, "-c", CHECK, AIRFLOW_HOME=scratch).splitlines()[-1])


def run(*command: str | Path, **environment: str) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nfailed: {' '.join(map(str, command))}")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
