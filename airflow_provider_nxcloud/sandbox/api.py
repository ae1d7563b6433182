"""NXCloud's API: which calls it accepts, and what it answers."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from typing import Any

from airflow_provider_nxcloud.sandbox.downloads import signed_url
from airflow_provider_nxcloud.sandbox.http import Reply
from airflow_provider_nxcloud.sandbox.state import SandboxRequest, SandboxState
from airflow_provider_nxcloud.signature import sign

_PREFIX = "/api/wa/"
_BIZ_TYPE_WHATSAPP = "2"
_TS_TOLERANCE_MS = 60_000
_COMMON_HEADERS = ("accessKey", "ts", "bizType", "action", "sign")
_MEDIA_PARAMETERS = ("business_phone", "messaging_product", "Media-ID")
_MESSAGES = {
    0: "success",
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


def answer(sandbox: SandboxState, request: SandboxRequest) -> Reply:
    """Answer an API call as NXCloud does: with status 200, and the code of the first check that fails."""
    if not request.path.startswith(_PREFIX):
        return Reply.of_text(404, "Not Found")
    if request.method != "POST":
        return Reply.of_text(405, "Method Not Allowed")
    code = _check_headers(sandbox, request)
    data = None
    if not code:
        required, act = _ACTIONS[request.headers["action"]]
        code = _check_parameters(sandbox, request.document, required)
    if not code:
        data = act(sandbox, request.document)
        code = -1 if data is None else 0
    return json_reply({"code": code, "message": _MESSAGES[code], "data": data})


def json_reply(document: Any) -> Reply:
    """Return any JSON value as a reply, with status 200."""
    headers = {"Content-Type": "application/json;charset=UTF-8"}
    return Reply(200, headers, json.dumps(document, ensure_ascii=False).encode())


def _check_headers(sandbox: SandboxState, request: SandboxRequest) -> int:
    """Return the code of the first check that fails, in NXCloud's order; 0 if none does."""
    headers = request.headers
    if not all(headers.get(name) for name in _COMMON_HEADERS):
        return 1001
    if headers["bizType"] != _BIZ_TYPE_WHATSAPP or headers["action"] not in _ACTIONS:
        return 1002
    if request.path != _PREFIX + headers["action"]:
        return 1002
    if headers["accessKey"] != sandbox.access_key:
        return 1005
    if not headers["ts"].isdecimal() or abs(int(headers["ts"]) - sandbox.now() * 1000) > _TS_TOLERANCE_MS:
        return 1004
    # Bytes, because compare_digest refuses text beyond ASCII, which a client may well send.
    if not hmac.compare_digest(_expected_sign(sandbox, request).encode(), headers["sign"].encode()):
        return 1003
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        return 1003
    return 0


def _expected_sign(sandbox: SandboxState, request: SandboxRequest) -> str:
    return sign(
        access_key=request.headers["accessKey"],
        action=request.headers["action"],
        biz_type=request.headers["bizType"],
        ts=request.headers["ts"],
        body=request.body,
        access_secret=sandbox.access_secret,
    )


def _check_parameters(sandbox: SandboxState, parameters: Any, required: Sequence[str]) -> int:
    """Continue where :func:`_check_headers` found nothing."""
    if not isinstance(parameters, dict):
        return 1002
    if not all(parameters.get(name) for name in required):
        return 9000
    if not all(isinstance(parameters[name], str) for name in required):
        return 1002
    if parameters["messaging_product"] != "whatsapp":
        return 1002
    if "business_phone" in required:
        if parameters["business_phone"] in sandbox.unbound_phones:
            return 9006
        if parameters["business_phone"] != sandbox.business_phone:
            return 9002
    return 0


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
    phone = sandbox.business_phone
    wanted = parameters.get("business_phones") or phone
    return {phone: [{"business_phone": phone}]} if phone in str(wanted).split(",") else {}


#: For each action the parameters it requires, and what gives its ``data``, or None for -1.
_ACTIONS = {
    "getMedia": (_MEDIA_PARAMETERS, _get_media),
    "deleteMedia": (_MEDIA_PARAMETERS, _delete_media),
    "getPhone": (("appkey", "messaging_product"), _get_phone),
}
