"""Access secret, signatures and signed URLs stay out of everything a run leaves, at every log level."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from airflow_provider_nxcloud.hooks.nxcloud import NxCloudHook
from airflow_provider_nxcloud.sandbox import NxCloudSandbox

pytestmark = pytest.mark.usefixtures("no_backoff")

SECRET = "canary-access-secret"
#: What a URL outside the sandbox has in place of a signature.
SIGNATURE = "canary+signature/of=the&url"
QUERY = f"?Expires=1&OSSAccessKeyId=canary-oss-key&Signature={quote(SIGNATURE, safe='')}"

FAULTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "none": [],
    **{
        f"{name} {options or ''}".strip(): [(name, options)]
        for name, options in (
            ("api.status", {"status": 500}),
            ("api.status", {"status": 400}),
            ("api.reset", {}),
            ("api.reset_after_headers", {}),
            ("api.hang", {}),
            ("api.html", {}),
            ("api.broken_json", {}),
            ("api.code", {"code": 1003}),
            ("api.code", {"code": 9002}),
            ("api.redirect", {"location": f"http://127.0.0.1/{QUERY}"}),
            ("download.status", {"status": 404}),
            ("download.status", {"status": 429}),
            ("download.expired", {}),
            ("download.reset", {}),
            ("download.reset_at", {}),
            ("download.cut", {}),
            ("download.cut_chunked", {}),
            ("download.stall", {}),
            ("download.hang", {}),
            ("download.html", {}),
            ("download.gzip", {}),
            ("download.wrong_length", {}),
            ("download.corrupt", {}),
            ("download.redirect_loop", {}),
            ("download.headers", {"headers": {"no colon in this line\r\nX": "y"}}),
            ("download.redirect", {"location": f"file:///photo{QUERY}"}),
            ("download.redirect", {"location": f"http://[::1/photo{QUERY}"}),
            ("download.redirect", {"location": f"http://nowhere.invalid/photo{QUERY}"}),
            ("api.url", {"url": f"http://127.0.0.1:1/photo{QUERY}"}),
            ("api.url", {"url": f"http://nowhere.invalid/photo{QUERY}"}),
            ("api.url", {"url": f"http://{'n' * 70}.invalid/photo{QUERY}"}),
            ("api.url", {"url": f"http://.127.0.0.1/photo{QUERY}"}),
            ("api.url", {"url": f"http://127.0.0.1 /photo{QUERY}"}),
            ("api.url", {"url": f"http://127.0.0.1:x/photo{QUERY}"}),
            ("api.url", {"url": f"http://[::1/photo{QUERY}"}),
            ("api.url", {"url": f"http://user@127.0.0.1/photo{QUERY}"}),
            ("api.url", {"url": f"file:///photo{QUERY}"}),
            ("api.url", {"url": QUERY}),
        )
    },
}


@pytest.fixture
def given_urls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every signed URL that the sandbox gave out."""
    from airflow_provider_nxcloud.sandbox import api

    urls: list[str] = []
    sign_url = api.signed_url

    def record(*arguments: Any) -> str:
        urls.append(sign_url(*arguments))
        return urls[-1]

    monkeypatch.setattr(api, "signed_url", record)
    return urls


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture, capfd) -> Iterator[Callable[[], str]]:
    """Log everything of everybody; call it for the text."""
    caplog.set_level(logging.DEBUG)
    loggers = [
        logging.getLogger(name) for name in logging.root.manager.loggerDict if not name.startswith("asyncio")
    ]
    before = [(logger, logger.level, logger.disabled, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.disabled, logger.propagate = False, True

    def text() -> str:
        lines = [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
        return "\n".join([caplog.text, *lines, *capfd.readouterr()])

    yield text
    for logger, level, disabled, propagate in before:
        logger.setLevel(level)
        logger.disabled, logger.propagate = disabled, propagate


def canaries(sandbox: NxCloudSandbox, urls: list[str]) -> set[str]:
    signatures = [parse_qs(urlsplit(url).query)["Signature"][0] for url in urls]
    signs = [call.headers["sign"] for call in sandbox.calls()]
    secrets = {SECRET, "canary-oss-key", "sandbox-oss-key", SIGNATURE, *signatures, *signs}
    return secrets | {quote(secret, safe="") for secret in secrets} | {"Signature=", "OSSAccessKeyId"}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_secrets_reach_nothing(faults, sandbox, photo, fetch, connect, given_urls, everything_logged):
    sandbox.access_secret = SECRET
    connect(extra={"timeout": 0.2, "max_attempts": 2})
    for name, options in faults:
        sandbox.inject(name, times=None, **options)

    run = fetch([photo.media_id])

    if run.error is not None:
        error = "".join(traceback.format_exception(run.error)) + repr(run.error) + repr(vars(run.error))
    else:
        error = ""
    logged = everything_logged()
    assert "Starting new HTTP connection" in logged, "what the libraries log at DEBUG is part of it"
    secrets = canaries(sandbox, given_urls)
    assert [secret for secret in secrets if secret in error] == []
    assert [secret for secret in secrets if secret in json.dumps(run.records)] == []
    assert [secret for secret in secrets if secret in logged] == []


def test_secrets_are_in_no_repr(sandbox, photo, connect, given_urls):
    sandbox.access_secret = SECRET
    connect()
    hook = NxCloudHook()

    media = hook.get_media("photo-1")
    texts = [repr(media), str(media), repr(hook), repr(hook.client), repr(hook.client.settings)]

    assert media.url in given_urls
    secrets = canaries(sandbox, given_urls)
    assert [secret for secret in secrets if secret in "".join(texts)] == []
