"""
From NXCloud's webhook callbacks to the media IDs in them.

Source: NXCloud, "WhatsApp API webhook".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.media import check_media_id
from airflow_provider_nxcloud.sha256 import parse_sha256

_MEDIA_TYPES = {"image", "video", "voice", "audio", "document", "sticker"}


def media_from_webhook(payload: object) -> list[dict[str, Any]]:
    """
    List the media of webhook callbacks, ready for the operator's and the sensor's ``media_ids``.

    Messages without media and status callbacks give nothing. A media that was delivered again is listed once,
    as it came first, completed by what later deliveries add.

    :param payload: a callback as dict or JSON text (str or bytes), or a list of those.
    :return: one dict per media, in order of first appearance: ``media_id``, ``sha256`` (lower-case hex),
        ``mime_type``, ``file_name``, ``caption``, ``message_id``, ``message_type``, ``from_number``,
        ``timestamp`` (epoch seconds) and ``business_phone``; texts as sent, None for what the callback does
        not say.
    :raises NxCloudInputError: (a ValueError) it is anything else, or a media message lacks its media.
    """
    media: dict[str, dict[str, Any]] = {}
    for callback in _callbacks(payload):
        for item in _media_of(callback):
            known = media.setdefault(item["media_id"], item)
            known.update({key: value for key, value in item.items() if known[key] is None})
    return list(media.values())


def _callbacks(payload: object) -> list[dict[str, Any]]:
    loaded = payload if isinstance(payload, list) else _load(payload, "payload")
    if not isinstance(loaded, list):
        return [_callback(loaded, "payload")]
    places = [(entry, f"payload[{index}]") for index, entry in enumerate(loaded)]
    return [_callback(_load(entry, where), where) for entry, where in places]


def _callback(callback: object, where: str) -> dict[str, Any]:
    if not isinstance(callback, dict):
        raise NxCloudInputError(f"{where} must be a webhook callback (a JSON object), not {_kind(callback)}")
    lists = {key: callback[key] for key in ("messages", "statuses") if callback.get(key) is not None}
    if not lists:
        raise NxCloudInputError(f"{where} is no webhook callback: it has neither messages nor statuses")
    for key, value in lists.items():
        if not isinstance(value, list):
            raise NxCloudInputError(f"{where}: {key} must be a list, not {_kind(value)}")
    return callback


def _load(value: object, where: str) -> object:
    """Return what JSON text stands for, and anything else as it is, provided that it is JSON throughout."""
    try:
        loaded = json.loads(value) if isinstance(value, (str, bytes)) else value
        # The result goes into XCom: NaN, lone surrogates and bottomless nesting must end here.
        json.dumps(loaded, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise NxCloudInputError(f"{where} is not JSON: {error}") from error
    return loaded


def _media_of(callback: dict[str, Any]) -> Iterator[dict[str, Any]]:
    phone_field = "business_phone" if callback.get("business_phone") else "merchant_phone"
    phone = _text(callback, phone_field, "callback")
    for index, message in enumerate(callback.get("messages") or []):
        if not isinstance(message, dict):
            raise NxCloudInputError(f"messages[{index}] must be an object, not {_kind(message)}")
        where = f"message {message.get('id') or index!r:.100}"
        kind = _text(message, "type", where)
        if kind is None:
            raise NxCloudInputError(f"{where} has no type")
        if kind in _MEDIA_TYPES:
            yield {
                **_media(message.get(kind), f"{where}, {kind}"),
                **_facts(message, where),
                "business_phone": phone,
            }


def _media(media: object, where: str) -> dict[str, Any]:
    """Return what the object of one media message says."""
    if not isinstance(media, dict):
        raise NxCloudInputError(f"{where}: must be an object, not {_kind(media)}")
    media_id = check_media_id(media.get("id"), f"{where}: id")
    sha256 = _text(media, "sha256", where)
    try:
        sha256 = sha256 and parse_sha256(sha256)
    except ValueError as error:
        raise NxCloudInputError(f"{where}: {error}") from error
    return {
        "media_id": media_id,
        "sha256": sha256,
        "mime_type": _text(media, "mime_type", where),
        "file_name": _text(media, "filename", where),
        "caption": _text(media, "caption", where),
    }


def _facts(message: dict[str, Any], where: str) -> dict[str, Any]:
    """Return what surrounds the media of one message."""
    return {
        "message_id": _text(message, "id", where),
        "message_type": message["type"],
        "from_number": _text(message, "from", where),
        "timestamp": _timestamp(message.get("timestamp"), where),
    }


def _timestamp(value: object, where: str) -> int | None:
    if value is None or value == "":
        return None
    text = str(value) if isinstance(value, (str, int)) else ""
    # Eleven digits are some thousand years, so more of them are milliseconds.
    if not re.fullmatch("[0-9]{1,11}", text):
        raise NxCloudInputError(f"{where}: timestamp must be seconds since the epoch, not {value!r:.100}")
    return int(text)


def _text(source: dict[str, Any], field: str, where: str) -> str | None:
    """Return a field's text; None when it is missing, null or empty."""
    value = source.get(field)
    if value is not None and not isinstance(value, str):
        raise NxCloudInputError(f"{where}: {field} must be text, not {_kind(value)}")
    return value or None


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
