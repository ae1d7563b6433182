"""What can go wrong between the operator and a media's store: one row a fault, healed or refused."""

from __future__ import annotations

import re
import threading
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_nxcloud.exceptions import NxCloudMediaFailedError, NxCloudMediaLostError
from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.sandbox import NxCloudSandbox
from airflow_provider_nxcloud.sandbox.downloads import signed_url
from airflow_provider_nxcloud.storage.staging import StagedFile
from airflow_provider_nxcloud.transfer import download

pytestmark = pytest.mark.usefixtures("no_backoff", "impatient")

ATTEMPTS = 3
#: As it is documented; other tests do not wait for it.
GRACE = download.NOT_FOUND_GRACE


class Fault(NamedTuple):
    """
    Faults of the sandbox that act together, with what the error must say when they never heal.

    ``url`` tells whether the next attempt has to ask for a new URL, ``resumes`` whether it has to resume.
    """

    faults: dict[str, dict[str, Any]]
    says: str
    url: bool = False
    resumes: bool = False


FAULTS = {
    "403 expired": Fault(
        {"download.expired": {}},
        r"HTTP 403 \(expired or refused URL\); .*; the store says 'AccessDenied'\)$",
        url=True,
    ),
    "401": Fault({"download.status": {"status": 401}}, "HTTP 401", url=True),
    "408": Fault({"download.status": {"status": 408}}, "HTTP 408"),
    "416": Fault({"download.status": {"status": 416}}, "HTTP 416", url=True),
    "429": Fault({"download.status": {"status": 429}}, "HTTP 429"),
    "500": Fault({"download.status": {"status": 500}}, "HTTP 500"),
    "502": Fault({"download.status": {"status": 502}}, "HTTP 502"),
    "503": Fault({"download.status": {"status": 503}}, "HTTP 503"),
    "204": Fault({"download.status": {"status": 204}}, "HTTP 204", url=True),
    "reset": Fault({"download.reset": {}}, "the download failed: Connection reset by peer"),
    "reset at 0 %": Fault({"download.reset_at": {"at": 0}}, "broke off.* after 0 of 1500000 bytes"),
    "reset at 50 %": Fault(
        {"download.reset_at": {"at": 0.5}}, "broke off.* after .* of 1500000", resumes=True
    ),
    "reset at 99 %": Fault(
        {"download.reset_at": {"at": 0.99}}, "broke off.* after .* of 1500000", resumes=True
    ),
    "cut at 0 %": Fault({"download.cut": {"at": 0}}, "broke off.* after 0 of 1500000 bytes"),
    "cut at 50 %": Fault(
        {"download.cut": {"at": 0.5}}, "broke off.* after .* of 1500000 bytes", resumes=True
    ),
    "cut at 99 %": Fault(
        {"download.cut": {"at": 0.99}}, "broke off.* after .* of 1500000 bytes", resumes=True
    ),
    "cut without ETag": Fault(
        {"download.cut": {}, "download.no_etag": {}}, "broke off.* after .* of 1500000", resumes=True
    ),
    "cut chunked at 0 %": Fault({"download.cut_chunked": {"at": 0}}, "broke off.* after 0 of"),
    "cut chunked": Fault({"download.cut_chunked": {}}, "broke off.* after .* bytes", resumes=True),
    "cut close-delimited": Fault({"download.cut_close_delimited": {}}, "their hash does not match"),
    "cut close-delimited, no hash": Fault(
        {"download.cut_close_delimited": {}, "download.no_etag": {}}, "neither a length nor a hash"
    ),
    "close-delimited, no hash": Fault(
        {"download.close_delimited": {}, "download.no_etag": {}}, "neither a length nor a hash"
    ),
    "Content-Length 10 too much": Fault(
        {"download.wrong_length": {"delta": 10}}, "broke off.* after 1500000 of 1500010 bytes", url=True
    ),
    "Content-Length 10 too few": Fault(
        {"download.wrong_length": {"delta": -10}}, "their hash does not match"
    ),
    "corrupt, ETag": Fault({"download.corrupt": {}}, "corrupt: their hash does not match"),
    "corrupt, Content-MD5": Fault(
        {"download.corrupt": {}, "download.content_md5": {}}, "corrupt: their hash does not match"
    ),
    "html": Fault({"download.html": {}}, "sent 'text/html' where 'image/jpeg' was announced"),
    "html as image/jpeg": Fault(
        {"download.page_as_media": {}}, "a web page or an error where 'image/jpeg' was announced"
    ),
    "another family": Fault(
        {"download.headers": {"headers": {"Content-Type": "video/mp4", "ETag": None}}},
        "sent 'video/mp4' where 'image/jpeg' was announced",
    ),
    "gzip": Fault({"download.gzip": {}}, "although identity was asked"),
    "gzip, no hash": Fault({"download.gzip": {}, "download.no_etag": {}}, "although identity was asked"),
    "Content-Length 10 too few, no hash": Fault(
        {"download.wrong_length": {"delta": -10}, "download.no_etag": {}}, "neither a length nor a hash"
    ),
    "cut chunked, another ETag": Fault(
        {"download.cut_chunked": {}, "download.headers": {"headers": {"ETag": f'"{"ab" * 16}"'}}},
        "broke off.* after .* bytes",
        resumes=True,
    ),
    "cut close-delimited, another ETag": Fault(
        {"download.cut_close_delimited": {}, "download.headers": {"headers": {"ETag": f'"{"ab" * 16}"'}}},
        "their hash does not match",
    ),
    "cut, a Transfer-Encoding that delimits nothing": Fault(
        {
            "download.cut_close_delimited": {},
            "download.headers": {"headers": {"Transfer-Encoding": "identity", "ETag": None}},
        },
        "neither a length nor a hash",
    ),
    "redirect loop": Fault({"download.redirect_loop": {}}, "redirected more than 5 times"),
    "hang": Fault({"download.hang": {}}, "the download failed: timed out"),
    "stall at 0 %": Fault({"download.stall": {"at": 0}}, "broke off: timed out.* after 0 of 1500000 bytes"),
    "stall at 50 %": Fault({"download.stall": {}}, "broke off: timed out.* after .* bytes", resumes=True),
}
#: Together with a drop, these answer the request that resumes; and what is asked for after that.
RESUMED = {
    "ignored range": ("download.ignore_range", {}, []),
    "another range": ("download.wrong_range", {}, [None]),
    "another range, longer": ("download.wrong_range", {"shift": -1000}, [None]),
    "another range under the right name": ("download.wrong_range", {"honest": False}, [None]),
    "another total": (
        "download.headers",
        {"headers": {"Content-Range": "bytes 750000-1499999/1600000"}},
        [None],
    ),
    "no Content-Range": ("download.headers", {"headers": {"Content-Range": None}}, [None]),
    "less than it says": ("download.wrong_length", {"delta": -10}, ["bytes=1499990-"]),
    "dropped again": ("download.cut", {"at": 0.5}, ["bytes=1125000-"]),
}


@pytest.fixture
def impatient(connect, request: pytest.FixtureRequest) -> None:
    """Wait long for nothing but where the test is about that."""
    waits = {"hang", "drip", "stall at 0 %", "stall at 50 %"} & set(
        request.node.callspec.id.split("-") if hasattr(request.node, "callspec") else ()
    )
    connect(extra={"timeout": 0.25 if waits else 5, "max_attempts": ATTEMPTS})


def inject(sandbox, fault: Fault, times: int | None) -> None:
    names = list(fault.faults)
    for name in names:
        # Of faults with a number of times a request gets one, of those for ever it gets all.
        once = times if name == names[0] else None
        sandbox.inject(name, times=once, **fault.faults[name])


def assert_stored(run, content: bytes, target) -> None:
    assert run.error is None
    assert (run.record["status"], run.record["error"]) == ("stored", None)
    assert target.read_bytes() == content


def ranges(sandbox) -> list[str | None]:
    return [download.headers.get("Range") for download in sandbox.downloads()]


@pytest.mark.parametrize(
    "name", [name for name in FAULTS if "no hash" not in name and "another ETag" not in name]
)
def test_fault_that_passes_heals(name, sandbox, photo, fetch, target):
    fault = FAULTS[name]
    inject(sandbox, fault, 6 if "redirect_loop" in str(fault) else 1)

    assert_stored(fetch([photo.media_id]), photo.content, target)

    assert len(sandbox.calls()) == (2 if fault.url else 1)
    first, *_, last = ranges(sandbox)
    assert first is None
    assert bool(last) == fault.resumes


@pytest.mark.parametrize("name", FAULTS)
def test_fault_that_stays_fails_the_media_and_can_be_retried(name, sandbox, photo, fetch, kept):
    fault = FAULTS[name]
    inject(sandbox, fault, None)

    run = fetch([photo.media_id])

    assert type(run.error) is NxCloudMediaFailedError
    assert "A task retry tries them again" in str(run.error)
    assert run.record["status"] == "failed"
    assert re.fullmatch(r".+; .+ \(media file 'photo-1', .+\)", run.record["error"]), "cause, remedy, place"
    assert re.search(fault.says, run.record["error"])
    assert run.record["error"] in str(run.error)
    assert len(sandbox.downloads()) == ATTEMPTS * (6 if "redirect_loop" in str(fault) else 1)
    kept()


@pytest.mark.parametrize(
    ("name", "hashed"),
    # Only a hash tells other bytes under the right name.
    [(name, hashed) for name in RESUMED for hashed in (True, False) if hashed or "right name" not in name],
)
def test_odd_answer_to_a_range_never_spoils_the_file(name, hashed, sandbox, photo, fetch, target):
    fault, options, asked_then = RESUMED[name]
    sandbox.inject("download.cut", media_id=photo.media_id)
    sandbox.inject(fault, **options)
    if not hashed:
        sandbox.inject("download.no_etag", times=None)

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert ranges(sandbox) == [None, "bytes=750000-", *asked_then]


def test_file_that_came_in_chunks_gets_its_length_from_the_resume(sandbox, photo, fetch, target):
    sandbox.inject("download.no_etag", times=None)
    sandbox.inject("download.cut_chunked")

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert [bool(asked) for asked in ranges(sandbox)] == [False, True]


def test_half_a_file_is_kept_while_the_store_is_out_of_order(sandbox, photo, fetch, target):
    sandbox.inject("download.cut")
    sandbox.inject("download.status", status=503)

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert ranges(sandbox) == [None, "bytes=750000-", "bytes=750000-"]


def test_file_that_changed_before_the_resume_is_fetched_anew(sandbox, photo, fetch, target):
    other = photo.content[::-1]
    sandbox.inject("download.cut")
    sandbox.observer = lambda request: (
        sandbox.add_media(other, "image/jpeg", media_id="photo-1") if request.kind == "download" else None
    )

    assert_stored(fetch([photo.media_id]), other, target)
    assert ranges(sandbox) == [None, "bytes=750000-"]


def test_url_that_really_expired_is_asked_for_anew(sandbox, photo, fetch, target):
    sandbox.url_lifetime = -1
    sandbox.observer = lambda request: (
        setattr(sandbox, "url_lifetime", 300) if request.kind == "download" else None
    )

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert [download.status for download in sandbox.downloads()] == [403, 200]


def test_error_names_the_host_that_was_asked_last(sandbox, photo, fetch, no_backoff, connect):
    connect(extra={"max_attempts": 2})
    with NxCloudSandbox() as other:
        sandbox.inject("download.expired", times=None)
        sandbox.observer = lambda request: (
            sandbox.inject("api.url", url=f"{other.base_url}/media/1", times=None)
            if request.kind == "download"
            else None
        )
        error = fetch([photo.media_id]).error
    assert f"from {other.base_url}" in str(error)
    assert sandbox.base_url not in str(error)


@pytest.mark.parametrize("status", [404, 410])
def test_missing_file_that_comes_is_stored(status, sandbox, photo, fetch, target):
    sandbox.inject("download.status", status=status)

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert len(sandbox.calls()) == 2


def test_missing_file_is_given_its_time(sandbox, photo, connect, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "NOT_FOUND_GRACE", GRACE)
    connect(extra={"max_attempts": 1})
    hook, waits = NxCloudHook(), []
    downloader = download.Downloader(
        hook.client.settings,
        max_media_bytes=len(photo.content),
        connections=1,
        cancelled=threading.Event(),
        sleep=waits.append,
    )
    staged = StagedFile(tmp_path)
    sandbox.inject("download.status", status=404)

    media = hook.get_media(photo.media_id)
    downloader.download(media, staged, refresh=lambda: hook.get_media(photo.media_id))

    assert staged.size == len(photo.content)
    assert waits == [3]
    staged.discard()


@pytest.mark.parametrize("status", [404, 410])
def test_missing_file_that_stays_missing_is_gone(status, sandbox, photo, fetch, kept):
    sandbox.inject("download.status", times=None, status=status)

    run = fetch([photo.media_id])

    assert type(run.error) is NxCloudMediaLostError
    assert isinstance(run.error, AirflowFailException)
    assert run.record["error"] == (
        f"the download answered HTTP {status}; the file is gone, and retrying will not help "
        f"(media file 'photo-1', from {sandbox.base_url})"
    )
    # Once more than anything else, some seconds later.
    assert len(sandbox.downloads()) == len(sandbox.calls()) == ATTEMPTS + 1
    kept()


def test_retry_after_of_a_store_is_waited_for(sandbox, photo, fetch, target):
    sandbox.inject("download.status", status=503, retry_after=1)

    assert_stored(fetch([photo.media_id]), photo.content, target)
    first, second = sandbox.downloads()
    assert 1 <= second.at - first.at < 4


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("download.drip", "the download broke off: it took too long in all"),
        ("download.drip_head", "the download failed: it took too long in all"),
    ],
)
def test_drip_ends_at_the_deadline(fault, says, sandbox, photo, fetch, kept, connect):
    connect(extra={"timeout": 0.1})
    sandbox.inject(fault, times=None, interval=0.03)

    run = fetch([photo.media_id])

    assert type(run.error) is NxCloudMediaFailedError
    assert re.search(f"^{says}.*'photo-1'", run.record["error"])
    kept()


@pytest.mark.parametrize("name", ["download.chunked", "download.close_delimited", "download.content_md5"])
def test_whole_file_is_stored_however_it_is_delimited(name, sandbox, photo, fetch, target):
    sandbox.inject(name, times=None)

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert len(sandbox.downloads()) == 1


@pytest.mark.parametrize("content_md5", ["nonsense", "n=", "\u00e9", "AAAA"])
def test_content_md5_that_is_none_counts_as_absent(content_md5, sandbox, photo, fetch, target):
    sandbox.inject("download.headers", times=None, headers={"Content-MD5": content_md5})

    assert_stored(fetch([photo.media_id]), photo.content, target)


def test_whole_chunked_file_is_stored_without_a_hash_too(sandbox, photo, fetch, target):
    sandbox.inject("download.chunked", times=None)
    sandbox.inject("download.no_etag", times=None)

    assert_stored(fetch([photo.media_id]), photo.content, target)


def test_given_sha256_makes_up_for_a_store_that_announces_nothing(sandbox, photo, fetch, target):
    sandbox.inject("download.close_delimited", times=None)
    sandbox.inject("download.no_etag", times=None)

    assert_stored(fetch([{"media_id": "photo-1", "sha256": photo.sha256}]), photo.content, target)


def test_given_sha256_catches_what_the_store_does_not(sandbox, photo, fetch, target):
    sandbox.inject("download.no_etag", times=None)
    sandbox.inject("download.corrupt")

    assert_stored(fetch([{"media_id": "photo-1", "sha256": photo.sha256}]), photo.content, target)
    assert len(sandbox.downloads()) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"download.html": {}},
        {"download.gzip": {}},
        {"download.page_as_media": {}},
        {"download.cut": {}},
        {"download.cut_chunked": {}},
        {"download.wrong_length": {"delta": -10}},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_given_sha256_lets_nothing_else_pass(fault, sandbox, photo, fetch, kept):
    inject(sandbox, Fault(fault, ""), None)

    run = fetch([{"media_id": "photo-1", "sha256": photo.sha256}])

    assert type(run.error) is NxCloudMediaFailedError
    kept()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/html"},
        {"Content-Type": "application/xml; charset=utf-8"},
        {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"ETag": f'"{"ab" * 16}"'},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "x-unheard-of"},
        {"Content-Length": "1500010"},
    ],
    ids=str,
)
def test_given_sha256_that_matches_outranks_every_header(headers, sandbox, photo, fetch, target):
    sandbox.inject("download.headers", times=None, headers=headers)

    assert_stored(fetch([{"media_id": "photo-1", "sha256": photo.sha256}]), photo.content, target)
    assert len(sandbox.downloads()) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/html"},
        {"Content-Type": "video/mp4"},
        *(
            {"Content-Encoding": value}
            for value in ("", "Identity", "aws-chunked", "UTF-8", "none", "binary")
        ),
        *({"Content-Encoding": value} for value in ("ISO-8859-1", "aws-chunked, utf-8", "gb18030", "base64")),
    ],
    ids=str,
)
def test_md5_of_the_store_outranks_its_labels(headers, sandbox, photo, fetch, target):
    sandbox.inject("download.headers", times=None, headers=headers)

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert len(sandbox.downloads()) == 1


@pytest.mark.parametrize("value", ["br", "zstd", "deflate", "GZIP", "x-gzip", "utf-8, gzip", "compress"])
def test_real_encoding_is_refused_whatever_the_etag(value, sandbox, photo, fetch, kept):
    sandbox.inject("download.headers", times=None, headers={"Content-Encoding": value})

    assert "although identity was asked" in fetch([photo.media_id]).record["error"]
    kept()


@pytest.mark.parametrize(
    "headers",
    [
        {"x-oss-object-type": "Appendable"},
        {"x-oss-object-type": "Multipart"},
        {"x-oss-server-side-encryption": "KMS"},
        {"x-amz-server-side-encryption": "aws:kms"},
        {"x-amz-server-side-encryption": "aws:kms:dsse"},
        {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
    ],
    ids=str,
)
def test_etag_that_the_store_says_is_no_md5_counts_as_absent(headers, sandbox, photo, fetch, target, caplog):
    etag = f'"{"AB" * 16}"'
    sandbox.inject("download.headers", times=None, headers={"ETag": etag, **headers})

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert len(sandbox.downloads()) == 1
    assert "looks like an MD5" not in caplog.text


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-oss-object-type": "Normal"}, {"x-amz-server-side-encryption": "AES256"}],
    ids=str,
)
def test_etag_that_differs_from_the_same_bytes_twice_is_no_md5(
    headers, sandbox, photo, fetch, target, caplog
):
    sandbox.inject("download.headers", times=None, headers={"ETag": f'"{"ab" * 16}"', **headers})

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert len(sandbox.downloads()) == 2
    said = "The ETag looks like an MD5 and is none: 2 downloads of media file 'photo-1' gave the same"
    assert [each.levelname for each in caplog.records if said in each.getMessage()] == ["WARNING"]


def test_bytes_that_differ_from_try_to_try_are_corrupt_whatever_the_etag(sandbox, photo, fetch, kept):
    sandbox.inject("download.headers", times=None, headers={"ETag": f'"{"ab" * 16}"'})
    sandbox.inject("download.corrupt")

    assert "corrupt: their hash does not match" in fetch([photo.media_id]).record["error"]
    assert len(sandbox.downloads()) == ATTEMPTS
    kept()


def test_content_md5_that_differs_each_time_is_believed(sandbox, photo, fetch, kept):
    sandbox.inject("download.headers", times=None, headers={"Content-MD5": f"{'A' * 22}==", "ETag": None})

    assert "corrupt: their hash does not match" in fetch([photo.media_id]).record["error"]
    kept()


CRC64 = {b"123456789": "11051210869376104954"}
NO_MD5 = f'"{"ab" * 16}"'


@pytest.mark.parametrize(
    ("fault", "headers"),
    [
        ({}, {"ETag": NO_MD5, "x-oss-object-type": "Multipart"}),
        ({}, {"ETag": NO_MD5}),
        ({}, {"ETag": None, "Content-Type": "text/html"}),
        ({"download.close_delimited": {}}, {"ETag": None}),
    ],
    ids=str,
)
@pytest.mark.parametrize("right", [True, False])
def test_crc64_of_oss_is_a_proof(fault, headers, right, sandbox, fetch, destination):
    ((content, crc64),) = CRC64.items()
    sandbox.add_media(content, "image/jpeg", media_id="small")
    headers = {**headers, "x-oss-hash-crc64ecma": crc64 if right else "11051210869376104955"}
    sandbox.inject("download.headers", times=None, headers=headers)
    inject(sandbox, Fault(fault, ""), None)

    run = fetch(["small"])

    if right:
        assert (run.error, (destination / "small.jpg").read_bytes()) == (None, content)
        assert len(sandbox.downloads()) == 1
    else:
        assert re.search("their hash does not match|sent 'text/html'", run.record["error"])
        assert not list(destination.iterdir())


def test_office_document_that_is_a_page_inside_is_stored(sandbox, fetch, destination):
    table = b"<html><table><tr><td>1</td></tr></table></html>"
    sandbox.add_media(table, "application/vnd.ms-excel", media_id="table")

    assert fetch(["table"]).error is None
    assert (destination / "table.xls").read_bytes() == table


@pytest.mark.parametrize(
    "mime_type", ["image/jpeg", "audio/ogg; codecs=opus", "video/mp4", "application/pdf"]
)
def test_page_with_an_md5_of_its_own_is_no_media_file(mime_type, sandbox, fetch, destination):
    sandbox.add_media(b"<!DOCTYPE html><p>Please sign in.", mime_type, media_id="page")

    assert "a web page or an error where" in fetch(["page"]).record["error"]
    assert not list(destination.iterdir())


def test_given_sha256_refuses_what_stays_corrupt(sandbox, photo, fetch, kept):
    sandbox.inject("download.no_etag", times=None)
    sandbox.inject("download.corrupt", times=None)

    run = fetch([{"media_id": "photo-1", "sha256": photo.sha256}])

    assert type(run.error) is NxCloudMediaFailedError
    assert "corrupt: their hash does not match" in run.record["error"]
    kept()


def test_wrong_sha256_for_an_intact_file_is_for_the_dag_author(sandbox, photo, fetch, kept):
    run = fetch([{"media_id": "photo-1", "sha256": "ab" * 32}])

    assert type(run.error) is NxCloudMediaLostError
    assert photo.sha256 in run.record["error"]
    assert "ab" * 32 in run.record["error"]
    assert len(sandbox.downloads()) == 1
    kept()


@pytest.mark.parametrize(
    ("fault", "options"),
    [("download.stall", {"at": 0}), ("download.chunked", {})],
    ids=["announced, before a byte has come", "unannounced"],
)
def test_media_over_the_limit_is_refused(fault, options, sandbox, photo, fetch, kept):
    sandbox.inject(fault, times=None, **options)

    run = fetch([photo.media_id], max_media_bytes=1_499_999)

    assert type(run.error) is NxCloudMediaLostError
    assert (
        "larger than max_media_bytes=1,499,999; raise it to store this media file (media file 'photo-1', 1.5 MB"
        in (run.record["error"])
    )
    assert len(sandbox.downloads()) == 1
    kept()


def test_empty_file_is_refused(sandbox, fetch):
    sandbox.add_media(b"", "image/jpeg", media_id="nothing")

    assert "the server sent an empty file" in fetch(["nothing"]).record["error"]


def test_media_of_exactly_the_limit_is_stored(photo, fetch, target):
    assert_stored(fetch([photo.media_id], max_media_bytes=1_500_000), photo.content, target)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_to_where_the_file_is_is_followed(status, sandbox, photo, fetch, target):
    sandbox.inject("download.redirect", status=status, location=signed_url(sandbox, "photo-1"))

    assert_stored(fetch([photo.media_id]), photo.content, target)
    assert [download.status for download in sandbox.downloads()] == [status, 200]
    assert len(sandbox.calls()) == 1


def test_redirect_that_leads_nowhere_is_a_failed_download(sandbox, photo, fetch):
    sandbox.inject("download.status", times=None, status=302)

    assert "the download answered HTTP 302" in fetch([photo.media_id]).record["error"]


def test_location_of_an_answer_that_is_no_redirect_is_not_followed(sandbox, photo, fetch, target):
    sandbox.inject("download.headers", times=None, headers={"Location": "http://127.0.0.1:1/"})

    assert_stored(fetch([photo.media_id]), photo.content, target)


def test_relative_redirect_is_followed(sandbox, photo, fetch, target):
    url = signed_url(sandbox, "photo-1").removeprefix(sandbox.base_url)
    sandbox.inject("download.redirect", location=url)

    assert_stored(fetch([photo.media_id]), photo.content, target)


def test_redirect_in_raw_utf_8_is_followed(sandbox, fetch, destination):
    sandbox.add_media(b"content", "image/jpeg", media_id="照片")
    path, _, query = signed_url(sandbox, "照片").partition("?")
    location = f" {unquote(path)}?{query} ".encode()
    sandbox.inject("download.redirect", location=location.decode("latin-1"))

    assert fetch(["照片"]).error is None
    assert len(sandbox.downloads()) == 2
