"""Webhook callbacks in, media out; nothing but ValueError for what is no callback."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import UserList

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.text import parse_sha256
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
            "user_id": None,
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
    assert len(media) == 11


@pytest.mark.parametrize(
    ("sent", "phone"),
    [
        ({"business_phone": "8610000"}, "8610000"),
        ({"merchant_phone": "8620000"}, "8620000"),
        ({"business_phone": "8610000", "merchant_phone": "8620000"}, "8610000"),
        ({"business_phone": "", "merchant_phone": "8620000"}, "8620000"),
        ({"metadata": {"display_phone_number": "8630000"}}, "8630000"),
        ({"business_phone": "8610000", "metadata": {"display_phone_number": "8630000"}}, "8610000"),
        ({"merchant_phone": 8613800138000}, "8613800138000"),
        ({"merchant_phone": "+86 (138) 0013-8000"}, "+86 (138) 0013-8000"),
        ({"business_phone": "{{ conn.nxcloud_default.password }}", "merchant_phone": "8620000"}, "8620000"),
        ({"business_phone": ["8610000"], "metadata": "8630000"}, None),
        ({"business_phone": "12"}, None),
        ({"business_phone": "+86\u2011138\xa00013\u20118000"}, "+86\u2011138\xa00013\u20118000"),
        ({}, None),
    ],
)
def test_merchant_number_under_all_its_names(sent, phone):
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
        lambda c: UserList([c]),
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


@pytest.mark.parametrize(
    "payload",
    [
        [],
        callback(),
        callback({"id": "w", "type": "text", "text": {"body": "hi"}}),
        callback({"id": "w", "type": "location", "location": {"latitude": 1.5}}),
        callback({"id": "w", "type": "hologram", "hologram": {"depth": 1}}),
        callback({"id": "w", "type": "text", "text": {"body": "hi"}, "context": {"id": "wamid.1"}}),
        callback({"id": "w", "type": "reaction", "reaction": {"message_id": "wamid.1", "emoji": "👍"}}),
        callback({"id": "w", "type": "unsupported", "errors": [{"code": 131051}]}),
        callback(
            {"id": "w", "type": "interactive", "interactive": {"list_reply": {"id": "1", "title": "Yes"}}}
        ),
        {"statuses": [{"id": "w", "status": "delivered"}]},
        {"statuses": [], "messages": None},
    ],
)
def test_what_has_no_media_gives_nothing(payload):
    assert media_from_webhook(payload) == []


def test_media_beside_statuses_and_text_is_found():
    text = {"id": "w", "type": "text", "text": {"body": "hi"}}
    assert ids(callback(text, message(), statuses=[{"id": "x"}])) == ["m1"]


BASE64 = base64.b64encode(DIGEST).decode()
URL_SAFE = base64.urlsafe_b64encode(DIGEST).decode()


@pytest.mark.parametrize(
    "sent",
    [
        DIGEST.hex(),
        DIGEST.hex().upper(),
        f" {DIGEST.hex()}\n",
        BASE64,
        BASE64.rstrip("="),
        URL_SAFE,
        URL_SAFE.rstrip("="),
    ],
)
def test_sha256_in_every_spelling_becomes_lower_case_hex(sent):
    assert URL_SAFE != BASE64
    (media,) = media_from_webhook(callback(message(media={"sha256": sent})))
    assert media["sha256"] == DIGEST.hex()


@pytest.mark.parametrize("absent", [None, ""])
def test_absent_sha256_is_none(absent):
    (media,) = media_from_webhook(callback(message(media={"sha256": absent})))
    assert media["sha256"] is None


GOOD = [callback(message(media_id="good-1")), callback(message(media_id="good-2"))]


def warned(payload: object, caplog: pytest.LogCaptureFixture) -> str:
    """List a payload between two good callbacks; both are found, and what the one warning says is returned."""
    assert ids([GOOD[0], payload, GOOD[1]]) == ["good-1", "good-2"]
    (record,) = caplog.records
    return record.getMessage()


@pytest.mark.parametrize("payload", [{}, {"hello": "world"}, [{"entry": []}]])
def test_objects_that_are_no_callbacks_give_nothing_and_a_warning(payload, caplog):
    assert media_from_webhook(payload) == []
    assert "is no callback: it has neither messages nor statuses" in caplog.text


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ({"field": "message_template_status_update"}, "is no callback: it has neither messages nor statuses"),
        ({}, "is no callback: it has neither messages nor statuses"),
        ({"entry": []}, "is no callback: it has neither messages nor statuses"),
        ({"messages": None}, "is no callback: it has neither messages nor statuses"),
        ({"messages": {}}, "has messages that are no list but dict"),
        ({"messages": "x"}, "has messages that are no list but str"),
        ({"statuses": "x"}, "has statuses that are no list but str"),
        (None, "must be a webhook callback (a JSON object), not nothing"),
        ("{", "is not JSON"),
    ],
)
def test_odd_callback_is_left_out_and_named(payload, problem, caplog):
    assert f"payload[1] {problem}" in warned(payload, caplog)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"image": None}, "has no image with an id"),
        ({"image": None, "errors": [{"code": 131051}]}, "no image with an id; errors: [{'code': 131051}]"),
        ({"image": "m1"}, "has no image with an id"),
        ({"image": {}}, "has no image with an id"),
        ({"image": {"id": " "}}, "image.id is empty"),
        ({"image": {"id": 5.5}}, "image.id must be a media ID given as text, not float"),
        ({"image": {"id": "1\ud800"}}, "image.id has white space around it or a control character"),
        ({"image": {"id": "../x"}}, "image.id has '/' or '..'"),
        ({"image": {"id": "{{ conn.nxcloud_default.password }}"}}, "image.id is a template"),
        ({"type": None}, "has no type"),
        ({"type": ["image"]}, "has a type that is list"),
        ({"type": "hologram", "hologram": {"id": "m2"}}, "has the unknown type 'hologram', with a media ID"),
        ({"type": "IMAGE"}, "has the unknown type 'IMAGE', with a media ID"),
        ({"type": "ptt", "audio": {"id": "m2"}}, "has the unknown type 'ptt', with a media ID"),
        (
            {"type": "edit", "image": None, "edit": {"message": {"type": "video", "video": {"id": "m2"}}}},
            "has the unknown type 'edit', with a media ID",
        ),
        ({"image": {"id": "null"}}, "image.id is 'null': the template or task it comes from gave nothing"),
    ],
)
def test_odd_message_is_left_out_and_named_by_place_and_id(fields, problem, caplog):
    odd = {**message(), **fields}
    said = warned(callback(odd), caplog)
    assert "payload[1].messages[0] ('wamid.m1')" in said
    assert problem in said
    assert "give media IDs as" not in said  # it comes from the webhook itself


def test_odd_message_does_not_hold_up_its_own_callback(caplog):
    assert ids(callback(message(media_id="a"), "x", message(media_id="b"))) == ["a", "b"]
    assert "payload.messages[1] must be an object, not str" in caplog.text


def test_many_odd_messages_are_one_warning_that_names_twenty(caplog):
    media_from_webhook(callback(*[{"type": "image"}] * 300))
    (record,) = caplog.records
    assert record.getMessage().count("has no image with an id") == 20
    assert record.getMessage().endswith("; and 280 more")


def test_odd_text_in_a_warning_cannot_forge_a_line(caplog):
    media_from_webhook(callback({"id": "a\nERROR forged", "type": "image"}))
    assert "\n" not in caplog.records[0].getMessage()


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        *[
            ({"image": {"id": "m1", "sha256": wrong}}, "sha256")
            for wrong in (
                "N/A",
                5,
                DIGEST.hex()[:-1],
                DIGEST.hex()[:-1] + "g",
                base64.b64encode(DIGEST[:-1]).decode(),
                "é" * 44,
                hashlib.md5(b"").hexdigest(),
            )
        ],
        ({"image": {"id": "m1", "mime_type": 5}}, "mime_type"),
        ({"image": {"id": "m1", "filename": ["a.pdf"]}}, "file_name"),
        ({"image": {"id": "m1", "caption": {}}}, "caption"),
        ({"from": {}}, "from_number"),
        *[({"timestamp": wrong}, "timestamp") for wrong in ("soon", True, [], -1, "1" * 40, "nan", 1e300)],
        *[({"timestamp": wrong}, "timestamp") for wrong in ("20231114221320", 99_999_999_999, 10**5000)],
    ],
)
def test_detail_that_makes_no_sense_is_none_with_a_warning(fields, key, caplog):
    (media,) = media_from_webhook(callback({**message(), **fields}))
    assert (media["media_id"], media[key]) == ("m1", None)
    assert "payload.messages[0] ('wamid.m1')" in caplog.text


@pytest.mark.parametrize(
    "timestamp",
    [
        "1700000000",
        1700000000,
        1700000000.9,
        "1700000000.9",
        "1700000000000",
        1700000000999,
        1700000000000000,
        "2023-11-14T22:13:20Z",
        "2023-11-14T22:13:20.500+00:00",
        "2023-11-14 22:13:20",
        "2023-11-15T06:13:20+08:00",
    ],
)
def test_timestamp_of_every_kind_is_seconds(timestamp, caplog):
    (media,) = media_from_webhook(callback(message(timestamp=timestamp)))
    assert media["timestamp"] == 1700000000
    assert caplog.records == []


@pytest.mark.parametrize(
    ("fields", "contacts", "expected"),
    [
        ({"from": "", "user_id": "US.1"}, [], (None, "US.1")),
        ({"from": None}, [{"user_id": "US.2"}], (None, "US.2")),
        ({}, [{"wa_id": "1"}, {"wa_id": "447700900000", "user_id": "US.3"}], ("447700900000", "US.3")),
        ({"from": ""}, [{"user_id": "US.4"}, {"user_id": "US.5"}], (None, None)),
        ({"from": 447700900000}, "no list", ("447700900000", None)),
        ({"from": 4477}, [{"wa_id": 1}, {"wa_id": 4477, "user_id": "US.6"}], ("4477", "US.6")),
        ({}, 1, ("447700900000", None)),
    ],
)
def test_sender_is_known_by_number_or_user_id(fields, contacts, expected, caplog):
    (media,) = media_from_webhook(callback({**message(), **fields}, contacts=contacts))
    assert (media["from_number"], media["user_id"]) == expected
    assert caplog.records == []


def test_text_that_no_database_keeps_is_replaced():
    media = {"caption": "a\x00b\ud83d\nc {{ first name }} 50 % {% off", "filename": "\ud800.pdf"}
    (found,) = media_from_webhook(callback(message(media=media)))
    assert found["caption"] == "a\ufffdb\ufffd\nc {{ first name }} 50 % {% off"
    assert found["file_name"] == "\ufffd.pdf"


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
        [None],
        [[]],
        [[callback()]],
        ["[]"],
        bytearray(b"{}"),
        "[" * 100_000,
        b'{"messages":' * 50_000,
    ],
)
def test_anything_else_is_a_value_error(payload):
    with pytest.raises(NxCloudInputError) as caught:
        media_from_webhook(payload)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "payload",
    [
        callback(message(), note=float("nan")),
        callback(message(), note=b"bytes"),
        {**callback(message()), ("a", "b"): 1},
        "\ufeff" + json.dumps(callback(message())),
        json.dumps(callback(message(), note=float("-inf"))),
        json.dumps(callback(message()))[:-1] + ', "note": ' + "1" * 5_000 + "}",
        json.dumps(callback(message(media={"caption": "a@b"}))).replace("@", "\n\t"),
        json.dumps(callback(message(media={"caption": "a@b"}))).encode().replace(b"@", "é".encode("latin-1")),
        callback(message(), statuses={}),
        callback(message(), note=deep()),
    ],
    ids=["nan", "bytes", "key", "BOM", "inf", "digits", "control", "encoding", "statuses", "deep"],
)
def test_what_nobody_needs_of_a_callback_may_be_anything(payload, caplog):
    assert ids(payload) == ["m1"]
    assert not caplog.records


@pytest.mark.parametrize("odd", [float("inf"), deep(), 10**5000], ids=["inf", "deep", "digits"])
@pytest.mark.parametrize("key", ["id", "from", "timestamp", "user_id", "errors"])
def test_what_nobody_needs_of_a_message_may_be_anything(key, odd):
    assert ids(callback(message(**{key: odd}), message(media_id="m2"))) == ["m1", "m2"]


@pytest.mark.parametrize("odd", [float("inf"), deep(), 10**5000], ids=["inf", "deep", "digits"])
@pytest.mark.parametrize("key", ["sha256", "mime_type", "filename", "caption"])
def test_what_nobody_needs_of_a_media_file_may_be_anything(key, odd):
    assert ids(callback(message(media={key: odd}), message(media_id="m2"))) == ["m1", "m2"]


def test_message_that_holds_itself_is_left_out():
    assert ids(endless()) == []


def test_sender_is_never_given_the_id_of_another():
    contacts = [{"wa_id": "447700900001", "user_id": "US.1"}]
    listed = media_from_webhook(callback(message(), contacts=contacts))
    assert [media["user_id"] for media in listed] == [None]


def test_media_id_given_as_a_number_is_its_digits():
    assert ids(callback(message(media={"id": 1000000001}))) == ["1000000001"]


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
