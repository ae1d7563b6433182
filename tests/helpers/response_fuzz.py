"""
Mutated HTTP responses through the operator: an error of ours, or the very bytes; nothing else, ever.

As a command: ``python tests/helpers/response_fuzz.py --cases 100000``, or ``make fuzz``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from unittest import mock

from raw_server import RawServer

from airflow_provider_nxcloud.exceptions import NxCloudError
from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator

FILE = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 3
SHA256 = hashlib.sha256(FILE).hexdigest()
CHUNKS = b"3;x=y\r\n%s\r\n%x\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (FILE[:3], len(FILE) - 3, FILE[3:])
HEAD = b'HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nETag: "x"\r\nDate: Wed, 25 Nov 2026 12:00:00 GMT\r\n'
LENGTH = HEAD + b"Content-Length: %d\r\n\r\n" % len(FILE) + FILE
WHOLE = [
    LENGTH,
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + LENGTH,
    b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(FILE) + FILE,
]
#: What parsers have stumbled over.
TOKENS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"-",
        b"+",
        b"_",
        b"\xff",
        b"0",
        b"9" * 20,
    ),
    *(
        b"0x10",
        b"-1",
        b"f" * 5000,
        b"100",
        b"101",
        b"150",
        b"204",
        b"304",
        b"407",
        b"999",
        b"chunked",
        b"gzip",
    ),
    *(b"HTTP/1.1 ", b"HTTP/2.0 200 OK\r\n\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Connection: close\r\n"),
    *(b"Location: http://[\r\n", b"Content-Range: bytes 1-2/3\r\n", b"Retry-After: 0\r\n", b"\r\n\r\n"),
    *(b"X: " + b"x" * 70000 + b"\r\n", b"X: x\r\n" * 200),
)


def mutate(response: bytes, dice: random.Random) -> bytes:
    """Change a response in one to four places, most often in its head."""
    data = bytearray(response)
    for _ in range(dice.randint(1, 4)):
        if not data:
            break
        at = dice.randrange(len(data) if dice.random() < 0.3 else min(200, len(data)))
        end = at + dice.choice((1, 1, 2, 8, 100))
        match dice.randrange(6):
            case 0:
                data[at] ^= 1 << dice.randrange(8)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at:at] = dice.choice(TOKENS)
            case 4:
                data[at:end] = dice.choice(TOKENS)
            case 5:
                del data[at + 1 :]
    return bytes(data)


class Server(RawServer):
    """Answers getMedia, and the download of media file N with case N, after which it closes the connection."""

    def __init__(self) -> None:
        #: Mutates the answers of the API instead.
        self.api_case: int | None = None
        super().__init__(backlog=256)
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self, client: socket.socket) -> None:
        request = b""
        while data := client.recv(65536):
            request += data
            head, end, body = request.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if not end or len(body) < int(length[1] if length else 0):
                continue
            if head.startswith(b"GET"):
                client.sendall(case(int(head.split(b" ")[1].rpartition(b"/")[2])))
                return
            client.sendall(self._answer(json.loads(body)["Media-ID"]))
            if self.api_case is not None:
                return
            request = b""

    def _answer(self, media_id: str) -> bytes:
        data = {"url": f"{self.url}/{media_id}", "mime_type": "image/jpeg", "file_name": "a.jpg"}
        body = json.dumps({"code": 0, "message": "success", "data": data}).encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        return answer if self.api_case is None else mutate(answer, random.Random(self.api_case))


def case(number: int) -> bytes:
    dice = random.Random(number)
    return mutate(dice.choice(WHOLE), dice)


def fuzz(downloads: range, calls: Iterable[int] = ()) -> Counter[str]:
    """
    Run cases, and return how often each cause was met; "stored" is one of them.

    :raises Exception: what must not come out.
    """
    causes: Counter[str] = Counter()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nothing is synced to a disk there
    with closing(Server()) as server, tempfile.TemporaryDirectory(dir=memory) as folder:
        extra = {"business_phone": "8613800138000", "max_attempts": 1, "timeout": 20}
        connection = {
            "conn_type": "nxcloud",
            "host": server.url,
            "login": "key",
            "password": "secret",
            "extra": extra,
        }
        with (
            mock.patch.dict(os.environ, AIRFLOW_CONN_NXCLOUD_FUZZ=json.dumps(connection)),
            mock.patch("airflow_provider_nxcloud.transfer.download.NOT_FOUND_GRACE", 0),
        ):
            for record in _download(downloads, Path(folder)):
                causes[_cause(record)] += 1
            for server.api_case in calls:
                try:
                    media = NxCloudHook("nxcloud_fuzz").get_media("1")
                    assert isinstance(media.url, str)
                    causes["answered"] += 1
                except NxCloudError as error:
                    causes[error.cause] += 1
    return causes


def _download(cases: range, folder: Path) -> list[dict]:
    manifest = folder / "manifest.jsonl"
    operator = NxCloudGetMediaOperator(
        task_id="fuzz",
        media_ids=[{"media_id": str(number), "sha256": SHA256} for number in cases],
        destination=str(folder / "out"),
        manifest=str(manifest),
        nxcloud_conn_id="nxcloud_fuzz",
        max_workers=8,
    )
    with suppress(NxCloudError):
        operator.execute(context={})
    records = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    assert [record["media_id"] for record in records] == [str(number) for number in cases]
    return records


def _cause(record: dict) -> str:
    if record["status"] == "stored":
        with open(record["uri"].removeprefix("file://"), "rb") as file:
            assert file.read() == FILE, record
        return "stored"
    assert record["status"] == "failed", record
    return record["error"].partition(" (media file")[0]


def main() -> None:
    """Run as many cases as asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=100_000, help="(default: %(default)s)")
    parser.add_argument(
        "--first", type=int, default=1_000_000, help="number of the first (default: %(default)s)"
    )
    options = parser.parse_args()
    total: Counter[str] = Counter()
    for first in range(options.first, options.first + options.cases, 1000):
        total += fuzz(range(first, first + 800), range(first, first + 200))
        print(f"{sum(total.values()):,} cases", file=sys.stderr)
    for cause, number in total.most_common():
        print(f"{number:8,}  {cause}")


if __name__ == "__main__":
    main()
