"""PostgreSQL, Redis and an S3, each of its own, none of them kept."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import redis

from processes import Processes, free_port, run

BUCKET = "media"
S3_KEY, S3_SECRET = "scale-out-key", "scale-out-secret"  # test values
_POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def check_installed() -> None:
    """Say what is missing, with the command that installs it."""
    redis_server = shutil.which("redis-server")
    if not redis_server or not _POSTGRESQL:
        missing = [] if redis_server else ["redis-server"]
        missing += [] if _POSTGRESQL else ["postgresql"]
        raise SystemExit(f"Not installed: {' '.join(missing)}. Run: apt-get install {' '.join(missing)}")


class Servers:
    """
    The servers of a run.

    :param processes: runs them.
    :param env: their environment.
    """

    def __init__(self, processes: Processes, env: Mapping[str, str]) -> None:
        self._processes = processes
        self._env = env
        self.ports = {name: free_port() for name in ("postgresql", "redis", "s3")}
        self.bucket = processes.folder / "s3" / BUCKET
        self.bucket.mkdir(parents=True)

    def start(self) -> None:
        """Start all of them and wait until they answer."""
        self._start_postgresql()
        redis_port = self.ports["redis"]
        command = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", ""]
        self._processes.start("redis", command, self._env)
        rclone = str(Path(sys.executable).with_name("rclone"))
        address = f"127.0.0.1:{self.ports['s3']}"
        command = [rclone, "serve", "s3", "--auth-key", f"{S3_KEY},{S3_SECRET}", "--addr", address]
        self._processes.start("s3", [*command, str(self.bucket.parent)], self._env)
        client = redis.Redis(port=redis_port)
        self._processes.wait_until(lambda: answers(client.ping, redis.RedisError), "Redis answers", 60)
        self.create_database("airflow")

    def create_database(self, name: str) -> None:
        """Make an empty database."""
        connect = self._processes.wait_until(
            lambda: answers(lambda: self.connect("postgres"), psycopg2.Error), "PostgreSQL answers", 60
        )
        connect.autocommit = True
        connect.cursor().execute(f"create database {name}")
        connect.close()

    def connect(self, database: str = "airflow") -> Any:
        """Return a connection to the database."""
        return psycopg2.connect(
            host="127.0.0.1", port=self.ports["postgresql"], user="postgres", dbname=database
        )

    def put(self, key: str, content: bytes) -> None:
        """Write an object; a file that came into its folder in another way rclone would not notice."""
        client = boto3.client(
            "s3",
            endpoint_url=self.s3_connection["extra"]["endpoint_url"],
            region_name="us-east-1",
            aws_access_key_id=S3_KEY,
            aws_secret_access_key=S3_SECRET,
        )
        client.put_object(Bucket=BUCKET, Key=key, Body=content)

    @property
    def s3_connection(self) -> dict[str, Any]:
        """The Airflow connection to the S3."""
        when_required = dict.fromkeys(
            ("response_checksum_validation", "request_checksum_calculation"), "when_required"
        )
        return {
            "conn_type": "aws",
            "login": S3_KEY,
            "password": S3_SECRET,
            "extra": {
                "endpoint_url": f"http://127.0.0.1:{self.ports['s3']}",
                "region_name": "us-east-1",
                "config_kwargs": when_required,
            },
        }

    def _start_postgresql(self) -> None:
        binaries = _POSTGRESQL[-1].parent
        data = self._processes.folder / "postgresql"
        data.mkdir()
        # PostgreSQL refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            os.chown(data, pwd.getpwnam(user).pw_uid, -1)
        # The locale of this machine may not be there for that user.
        initdb = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres"]
        run([*initdb, "--locale", "C.UTF-8", "-E", "UTF8"], self._env, user)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "300"}
        settings = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        command = [
            str(binaries / "postgres"),
            "-D",
            str(data),
            "-p",
            str(self.ports["postgresql"]),
            *settings,
        ]
        self._processes.start("postgresql", command, self._env, user)


def answers(ask: Any, error: type[Exception]) -> Any:
    """Return what a server answers, None while it does not."""
    try:
        return ask()
    except error:
        return None
