"""NXCloud's API: which calls it accepts, and what it answers."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from airflow_provider_nxcloud.sandbox.downloads import signed_url
from airflow_provider_nxcloud.sandbox.http import Reply, Request
from airflow_provider_nxcloud.sandbox.state import SandboxState
from airflow_provider_nxcloud.signature import sign

_PREFIX = "/api/wa/"
_BIZ_TYPE_WHATSAPP = "2"
_TS_TOLERANCE_MS = 60_000
_COMMON_HEADERS = ("accessKey", "ts", "bizType", "action", "sign")
_MEDIA_PARAMETERS = ("business_phone", "messaging_product", "Media-ID")
_MESSAGES = {
    -1: "request failed",
    1001: "common header missing",
    1002: "invalid parameter",
    1003: "invalid signature",
    1004: "timestamp expired",
    1005: "invalid accessKey",
    9000: "parameter missing",
    9002: "not a WhatsApp number",
    9006: "number not bound to the application",
}


def media_id_of(request: Request) -> str | None:
    """Return the media ID that an API call names, valid or not; None without one."""
    media_id = request.document.get("Media-ID") if isinstance(request.document, dict) else None
    return media_id if isinstance(media_id, str) else None


def answer(sandbox: SandboxState, request: Request) -> Reply:
    """Answer an API call as NXCloud does: with status 200, and the code of the first check that fails."""
    if not request.path.startswith(_PREFIX):
        return Reply.of_text(404, "Not Found")
    if request.method != "POST":
        return Reply.of_text(405, "Method Not Allowed")
    for code, passes in _CHECKS:
        if not passes(sandbox, request):
            return json_reply({"code": code, "message": _MESSAGES[code], "data": None})
    data = _action(request).answer(sandbox, request.document)
    code = -1 if data is None else 0
    return json_reply({"code": code, "message": _MESSAGES.get(code, "success"), "data": data})


def json_reply(document: Any) -> Reply:
    """Return any JSON value as a reply, with status 200."""
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    return Reply(200, headers, json.dumps(document, ensure_ascii=False).encode())


def _has_headers(sandbox: SandboxState, request: Request) -> bool:
    return all(request.headers.get(name) for name in _COMMON_HEADERS)


def _has_operation(sandbox: SandboxState, request: Request) -> bool:
    action = request.headers["action"]
    return (
        request.headers["bizType"] == _BIZ_TYPE_WHATSAPP
        and action in _ACTIONS
        and request.path == _PREFIX + action
    )


def _has_access_key(sandbox: SandboxState, request: Request) -> bool:
    return request.headers["accessKey"] == sandbox.access_key


def _is_timely(sandbox: SandboxState, request: Request) -> bool:
    ts = request.headers["ts"]
    return ts.isdecimal() and abs(int(ts) - sandbox.now() * 1000) <= _TS_TOLERANCE_MS


def _is_signed(sandbox: SandboxState, request: Request) -> bool:
    headers = request.headers
    expected = sign(
        access_key=headers["accessKey"],
        action=headers["action"],
        biz_type=headers["bizType"],
        ts=headers["ts"],
        body=request.body,
        access_secret=sandbox.access_secret,
    )
    # Bytes, because compare_digest refuses text beyond ASCII, which a client may well send.
    return hmac.compare_digest(expected.encode(), headers["sign"].encode())


def _is_json(sandbox: SandboxState, request: Request) -> bool:
    content_type = request.headers.get("Content-Type", "")
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _is_object(sandbox: SandboxState, request: Request) -> bool:
    return isinstance(request.document, dict)


def _has_parameters(sandbox: SandboxState, request: Request) -> bool:
    return all(request.document.get(name) for name in _action(request).required)


def _has_valid_parameters(sandbox: SandboxState, request: Request) -> bool:
    document = request.document
    texts = all(isinstance(document[name], str) for name in _action(request).required)
    return texts and document["messaging_product"] == "whatsapp"


def _is_bound(sandbox: SandboxState, request: Request) -> bool:
    return not _names_phone(request) or request.document["business_phone"] not in sandbox.unbound_phones


def _is_whatsapp_number(sandbox: SandboxState, request: Request) -> bool:
    return not _names_phone(request) or request.document["business_phone"] == sandbox.business_phone


def _names_phone(request: Request) -> bool:
    return "business_phone" in _action(request).required


#: NXCloud's codes in the order of its checks.
_CHECKS: tuple[tuple[int, Callable[[SandboxState, Request], bool]], ...] = (
    (1001, _has_headers),
    (1002, _has_operation),
    (1005, _has_access_key),
    (1004, _is_timely),
    (1003, _is_signed),
    (1003, _is_json),
    (1002, _is_object),
    (9000, _has_parameters),
    (1002, _has_valid_parameters),
    (9006, _is_bound),
    (9002, _is_whatsapp_number),
)


def _get_media(sandbox: SandboxState, parameters: dict[str, Any]) -> dict[str, Any] | None:
    media = sandbox.media.get(parameters["Media-ID"])
    if media is None or not sandbox.is_available(media):
        return None
    return {
        "mime_type": media.mime_type,
        "file_name": media.file_name,
        "url": signed_url(sandbox, media.media_id),
    }


def _delete_media(sandbox: SandboxState, parameters: dict[str, Any]) -> dict[str, Any] | None:
    removed = sandbox.media.pop(parameters["Media-ID"], None)
    return {"success": True} if removed else None


def _get_phone(sandbox: SandboxState, parameters: dict[str, Any]) -> dict[str, Any]:
    wanted = parameters.get("business_phones") or sandbox.business_phone
    phone = sandbox.business_phone
    return {phone: [{"business_phone": phone}]} if phone in str(wanted).split(",") else {}


class _Action(NamedTuple):
    required: tuple[str, ...]
    #: Gives ``data``; None for -1.
    answer: Callable[[SandboxState, dict[str, Any]], dict[str, Any] | None]


_ACTIONS = {
    "getMedia": _Action(_MEDIA_PARAMETERS, _get_media),
    "deleteMedia": _Action(_MEDIA_PARAMETERS, _delete_media),
    "getPhone": _Action(("appkey", "messaging_product"), _get_phone),
}


def _action(request: Request) -> _Action:
    return _ACTIONS[request.headers["action"]]
