"""Webhook callbacks in, media out; nothing but ValueError for what is no callback."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.sha256 import parse_sha256
from airflow_provider_nxcloud.webhook import media_from_webhook

DIGEST = hashlib.sha256(b"media").digest()
KINDS = ["image", "video", "voice", "audio", "document", "sticker"]


def message(kind: str = "image", media_id: str = "m1", *, media: dict | None = None, **fields) -> dict:
    return {
        "id": f"wamid.{media_id}",
        "from": "447700900000",
        "timestamp": "1700000000",
        "type": kind,
        kind: {"id": media_id, "mime_type": "image/jpeg", "sha256": DIGEST.hex(), **(media or {})},
        **fields,
    }


def callback(*messages: dict, **fields) -> dict:
    return {
        "messaging_product": "whatsapp",
        "business_phone": "8613800000000",
        "messages": list(messages),
        **fields,
    }


def ids(payload: object) -> list[str]:
    return [media["media_id"] for media in media_from_webhook(payload)]


def test_document_gives_everything_the_callback_says():
    media = {"filename": "Ünvoice 1.pdf", "caption": "the invoice", "mime_type": "application/pdf; x=y"}
    assert media_from_webhook(callback(message("document", media=media))) == [
        {
            "media_id": "m1",
            "sha256": DIGEST.hex(),
            "mime_type": "application/pdf; x=y",
            "file_name": "Ünvoice 1.pdf",
            "caption": "the invoice",
            "message_id": "wamid.m1",
            "message_type": "document",
            "from_number": "447700900000",
            "timestamp": 1700000000,
            "business_phone": "8613800000000",
        }
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_media_is_found(kind):
    (media,) = media_from_webhook(callback(message(kind)))
    assert (media["media_id"], media["message_type"]) == ("m1", kind)


def test_what_the_callback_does_not_say_is_none():
    payload = {"messages": [{"type": "sticker", "sticker": {"id": "m1"}}]}
    (media,) = media_from_webhook(payload)
    assert {key for key, value in media.items() if value is not None} == {"media_id", "message_type"}
    assert len(media) == 10


@pytest.mark.parametrize(
    ("sent", "phone"),
    [
        ({"business_phone": "861"}, "861"),
        ({"merchant_phone": "862"}, "862"),
        ({"business_phone": "861", "merchant_phone": "862"}, "861"),
        ({"business_phone": "", "merchant_phone": "862"}, "862"),
        ({}, None),
    ],
)
def test_merchant_number_under_both_its_names(sent, phone):
    (media,) = media_from_webhook({"messages": [message()], **sent})
    assert media["business_phone"] == phone


@pytest.mark.parametrize(
    "wrap",
    [
        lambda c: c,
        json.dumps,
        lambda c: json.dumps(c).encode(),
        lambda c: [c],
        lambda c: [json.dumps(c)],
        lambda c: [json.dumps(c).encode()],
        lambda c: json.dumps([c]),
    ],
)
def test_every_form_of_payload_gives_the_same(wrap):
    payload = callback(message(), message("video", "m2"))
    assert media_from_webhook(wrap(payload)) == media_from_webhook(payload)
    assert ids(wrap(payload)) == ["m1", "m2"]


def test_repeated_delivery_appears_once_in_order_of_first_appearance():
    first = callback(message(media_id="b"), message(media_id="a"), message(media_id="b"))
    again = callback(message(media_id="a", media={"caption": "later"}), message(media_id="c"))
    assert ids([first, first, json.dumps(again)]) == ["b", "a", "c"]
    assert media_from_webhook([first, again])[1]["caption"] == "later"


def test_repeated_delivery_does_not_change_what_is_known():
    first = callback(message(media_id="a", media={"caption": "first"}))
    again = callback(message(media_id="a", media={"caption": "later"}))
    assert media_from_webhook([first, again])[0]["caption"] == "first"


def test_media_id_that_no_task_would_take_is_refused():
    with pytest.raises(ValueError, match="'/' or"):
        media_from_webhook(callback(message(media_id="../x")))


def test_timestamp_in_milliseconds_is_refused():
    with pytest.raises(ValueError, match="seconds since the epoch"):
        media_from_webhook(callback({**message(), "timestamp": "1700000000000"}))


@pytest.mark.parametrize(
    "payload",
    [
        [],
        callback(),
        callback({"id": "w", "type": "text", "text": {"body": "hi"}}),
        callback({"id": "w", "type": "location", "location": {"latitude": 1.5}}),
        callback({"id": "w", "type": "hologram", "hologram": {"id": "m1"}}),
        {"statuses": [{"id": "w", "status": "delivered"}]},
        {"statuses": [], "messages": None},
    ],
)
def test_what_has_no_media_gives_nothing(payload):
    assert media_from_webhook(payload) == []


def test_media_beside_statuses_and_text_is_found():
    text = {"id": "w", "type": "text", "text": {"body": "hi"}}
    assert ids(callback(text, message(), statuses=[{"id": "x"}])) == ["m1"]


@pytest.mark.parametrize("sent", [DIGEST.hex(), DIGEST.hex().upper(), base64.b64encode(DIGEST).decode()])
def test_sha256_in_either_spelling_becomes_lower_case_hex(sent):
    (media,) = media_from_webhook(callback(message(media={"sha256": sent})))
    assert media["sha256"] == DIGEST.hex()


@pytest.mark.parametrize("absent", [None, ""])
def test_absent_sha256_is_none(absent):
    (media,) = media_from_webhook(callback(message(media={"sha256": absent})))
    assert media["sha256"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        DIGEST.hex()[:-1],
        DIGEST.hex()[:-1] + "g",
        DIGEST.hex() + "\n",
        base64.b64encode(DIGEST).decode()[:-1],
        base64.b64encode(DIGEST[:-1]).decode(),
        "é" * 44,
        hashlib.md5(b"").hexdigest(),
    ],
)
def test_malformed_sha256_is_refused_naming_the_message(wrong):
    with pytest.raises(ValueError, match=r"'wamid\.m1'.*SHA-256"):
        media_from_webhook(callback(message(media={"sha256": wrong})))


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"image": None}, ["'wamid.m1'", "image"]),
        ({"image": "m1"}, ["'wamid.m1'", "image", "str"]),
        ({"image": {}}, ["'wamid.m1'", "image", "id"]),
        ({"image": {"id": " "}}, ["'wamid.m1'", "id"]),
        ({"image": {"id": 5}}, ["'wamid.m1'", "id", "int"]),
        ({"image": {"id": "m", "mime_type": 5}}, ["'wamid.m1'", "mime_type"]),
        ({"image": {"id": "m", "filename": []}}, ["'wamid.m1'", "filename"]),
        ({"image": {"id": "m", "sha256": 5}}, ["'wamid.m1'", "sha256"]),
        ({"type": None}, ["'wamid.m1'", "type"]),
        ({"type": ["image"]}, ["'wamid.m1'", "type"]),
        ({"from": 5}, ["'wamid.m1'", "from"]),
        ({"timestamp": "soon"}, ["'wamid.m1'", "timestamp", "'soon'"]),
        ({"timestamp": 1.5}, ["'wamid.m1'", "timestamp"]),
        ({"timestamp": True}, ["'wamid.m1'", "timestamp"]),
        ({"timestamp": "1" * 16}, ["'wamid.m1'", "timestamp"]),
        ({"id": None, "image": None}, ["message 0", "image"]),
        ({"id": 5}, ["message 5", "id"]),
    ],
)
def test_broken_media_message_is_refused_naming_message_and_field(fields, names):
    with pytest.raises(NxCloudInputError) as caught:
        media_from_webhook(callback({**message(), **fields}))
    for name in names:
        assert name in str(caught.value)


@pytest.mark.parametrize("timestamp", ["1700000000", 1700000000])
def test_timestamp_is_an_int(timestamp):
    (media,) = media_from_webhook(callback(message(timestamp=timestamp)))
    assert media["timestamp"] == 1700000000


def endless() -> dict:
    payload = callback()
    payload["messages"].append(payload)
    return payload


def deep() -> dict:
    nested: object = 0
    for _ in range(100_000):
        nested = [nested]
    return callback(extra=nested)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        5,
        True,
        "",
        "{",
        b"",
        b"\xff\xfe{",
        "5",
        "null",
        '"text"',
        (),
        {1, 2},
        object(),
        {},
        {"entry": []},
        {"messages": None},
        {"messages": {}},
        {"messages": "x"},
        {"statuses": "x"},
        {"messages": ["x"]},
        [None],
        [[]],
        [[callback()]],
        ["[]"],
        json.dumps(json.dumps(callback())),
        bytearray(b"{}"),
        callback(note=float("nan")),
        callback(note=float("inf")),
        '{"messages": [], "note": NaN}',
        '{"messages": [], "note": -Infinity}',
        '{"messages": [], "note": "\\ud800"}',
        callback(note="\ud800"),
        callback(note=b"bytes"),
        callback(business_phone=5) | {"messages": [message()]},
        {**callback(), ("a", "b"): 1},
        "[" * 100_000,
        b'{"messages":' * 50_000,
        '{"messages": [], "note": ' + "1" * 5_000 + "}",
    ],
)
def test_anything_else_is_a_value_error(payload):
    with pytest.raises(NxCloudInputError) as caught:
        media_from_webhook(payload)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("make", [endless, deep])
def test_bottomless_payload_is_a_value_error(make):
    with pytest.raises(NxCloudInputError):
        media_from_webhook(make())


def test_one_broken_callback_is_named_by_its_place():
    with pytest.raises(NxCloudInputError, match=r"payload\[1\]"):
        media_from_webhook([callback(), {}])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["id", "mime_type", "sha256", "filename", "caption"]
MEDIA = st.dictionaries(st.sampled_from(NAMES), ANYTHING | st.just("m1"), max_size=5)
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from([*KINDS, "text"]) | ANYTHING},
    optional={name: ANYTHING for name in ("id", "from", "timestamp")}
    | {kind: MEDIA | ANYTHING for kind in KINDS},
)
CALLBACKS = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(MESSAGES | ANYTHING, max_size=3) | ANYTHING,
        "statuses": ANYTHING,
        "business_phone": st.text() | ANYTHING,
    },
)


@settings(deadline=None)
@given(CALLBACKS | ANYTHING | st.lists(CALLBACKS, max_size=3) | st.text() | st.binary())
def test_whatever_comes_in_gives_json_without_repetitions_or_value_error(payload):
    try:
        media = media_from_webhook(payload)
    except NxCloudInputError:
        return
    assert json.loads(json.dumps(media, allow_nan=False)) == media
    found = [item["media_id"] for item in media]
    assert len(found) == len(set(found))


@given(st.binary(min_size=32, max_size=32))
def test_parse_sha256_reads_both_spellings_alike(digest):
    assert (
        parse_sha256(digest.hex().upper()) == parse_sha256(base64.b64encode(digest).decode()) == digest.hex()
    )


@pytest.mark.parametrize("value", [None, b"0" * 64, 5, [], "0" * 63, "\u0660" * 64])
def test_parse_sha256_refuses_everything_else(value):
    with pytest.raises(ValueError, match="64 hexadecimal digits or 44 characters"):
        parse_sha256(value)
