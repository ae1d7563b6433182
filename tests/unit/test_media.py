"""``media_ids`` in every form that is accepted, and every refusal."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.media import Media, MediaItem, parse_media_ids

DIGEST = hashlib.sha256(b"content")
HEX = DIGEST.hexdigest()
BASE64 = base64.b64encode(DIGEST.digest()).decode()
FULL = {"media_id": "a", "sha256": HEX, "mime_type": "image/jpeg", "file_name": "a.jpg"}
NATIVE = "native rendering turns digits into numbers"


def ids(value: object) -> list[str]:
    return [item.media_id for item in parse_media_ids(value)]


def refusal(value: object) -> str:
    with pytest.raises(NxCloudInputError) as caught:
        parse_media_ids(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["b", "a"], ["b", "a"]),
        (("b", "a"), ["b", "a"]),
        ([], []),
        ("[]", []),
        ("()", []),
        ('["b", "a"]', ["b", "a"]),
        ("['b', 'a']", ["b", "a"]),
        ("('b', 'a')", ["b", "a"]),
        (' ["b"]\n', ["b"]),
        ("[{'media_id': 'b'}, 'a']", ["b", "a"]),
        ("""[{'media_id': 'b', 'caption': "it's '' \\"", 'file_name': ''}, 'a']""", ["b", "a"]),
        ('[{"media_id": "b", "sha256": null}]', ["b"]),
        ("1234567890", ["1234567890"]),
        ("  abc  ", ["abc"]),
        ('"abc"', ["abc"]),
        ("'abc'", ["abc"]),
        ("1e5", ["1e5"]),
        ("wamid.HBgL=", ["wamid.HBgL="]),
        ([{"media_id": "b"}, "a"], ["b", "a"]),
        (["牛小信"], ["牛小信"]),
        (["x" * 256], ["x" * 256]),
        (["a b"], ["a b"]),
    ],
)
def test_media_ids_accepted_form_gives_ids_in_order(value, expected):
    assert ids(value) == expected


def test_media_ids_mapping_gives_all_it_says():
    assert parse_media_ids([FULL]) == [MediaItem("a", HEX, "image/jpeg", "a.jpg")]


def test_media_ids_details_are_fit_for_logs_and_json():
    (item,) = parse_media_ids(
        [{"media_id": "a", "mime_type": "image/\x1b[1m", "file_name": "a\nb\ud800é.png"}]
    )
    assert (item.mime_type, item.file_name) == ("image/\ufffd[1m", "a\ufffdb\ufffdé.png")


def test_media_ids_mapping_of_json_gives_the_same():
    assert parse_media_ids(json.dumps([FULL])) == parse_media_ids([FULL])
    assert parse_media_ids(str([FULL])) == parse_media_ids([FULL])


def test_media_ids_further_keys_are_ignored():
    assert parse_media_ids([{**FULL, "caption": "hello", "from": 1}]) == parse_media_ids([FULL])


@pytest.mark.parametrize("blank", [None, ""])
def test_media_ids_blank_details_count_as_absent(blank):
    entry = {"media_id": "a", "sha256": blank, "mime_type": blank, "file_name": blank}
    assert parse_media_ids([entry]) == [MediaItem("a")]


@pytest.mark.parametrize("sha256", [HEX, HEX.upper(), BASE64, BASE64.rstrip("=")])
def test_media_ids_sha256_of_every_spelling_becomes_lowercase_hex(sha256):
    (item,) = parse_media_ids([{"media_id": "a", "sha256": sha256}])
    assert item.sha256 == HEX


@pytest.mark.parametrize("key", ["sha256", "mime_type", "file_name"])
@pytest.mark.parametrize("value", [1, b"a", ["a"], {}, float("nan")])
def test_media_ids_detail_that_makes_no_sense_is_left_out_with_a_warning(key, value, caplog):
    assert parse_media_ids(["b", {**FULL, key: value}]) == [MediaItem("b"), MediaItem(**{**FULL, key: None})]
    (record,) = caplog.records
    assert f"media_ids[1][{key!r}] must be" in record.getMessage()


@pytest.mark.parametrize("sha256", [HEX[:-1], HEX + "0", "g" * 64, "N/A", "not a hash", HEX[:32]])
def test_media_ids_hash_that_is_none_is_left_out_with_a_warning(sha256, caplog):
    assert parse_media_ids([{"media_id": "a", "sha256": sha256}]) == [MediaItem("a")]
    assert "media_ids[0]['sha256'] must be 64 hexadecimal digits" in caplog.text


@pytest.mark.parametrize("phone", ["+86 138-0013 8000", "8613800138000", 8613800138000])
def test_media_ids_mapping_names_its_merchant_number(phone):
    (item,) = parse_media_ids([{"media_id": "a", "business_phone": phone}])
    assert item.business_phone == "8613800138000"


@pytest.mark.parametrize("phone", ["861", "{{ conn.x.password }}", [], True])
def test_media_ids_wrong_merchant_number_is_refused_by_key(phone):
    assert "media_ids[0]['business_phone'] must be 5 to 20 digits" in refusal(
        [{"media_id": "a", "business_phone": phone}]
    )


def test_media_ids_mapping_keeps_what_was_given():
    said = {"caption": "hello", "from": 1, "business_phone": "8613800138000"}
    both = [{**FULL, **said}, {"media_id": "a", "caption": "again", "more": True}]
    (item,) = parse_media_ids(both)
    assert item.given == {**FULL, **said, "more": True}
    assert item.source == {**said, "more": True}
    assert parse_media_ids(["a"])[0].source is None


def test_media_ids_duplicates_are_one_at_their_first_place():
    assert ids(["b", "a", "b", {"media_id": "a"}, "c"]) == ["b", "a", "c"]


def test_media_ids_duplicates_complete_each_other():
    entries = ["a", {"media_id": "a", "mime_type": "image/png"}, {"media_id": "a", "sha256": BASE64}]
    assert parse_media_ids(entries) == [MediaItem("a", HEX, "image/png")]


def test_media_ids_duplicates_first_name_and_type_win():
    other = {"media_id": "a", "mime_type": "video/mp4", "file_name": "b.mp4"}
    assert parse_media_ids([FULL, other]) == parse_media_ids([FULL])


def test_media_ids_duplicates_with_hashes_spelled_differently_are_one():
    assert len(parse_media_ids([FULL, {"media_id": "a", "sha256": BASE64}])) == 1


def test_media_ids_duplicates_with_other_hashes_are_refused():
    text = refusal([FULL, {"media_id": "a", "sha256": "0" * 64}])
    assert "'a'" in text
    assert HEX in text


@pytest.mark.parametrize(
    ("media_id", "said"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a/b", "'/'"),
        ("..", "'..'"),
        ("a..b", "'..'"),
        ("../../etc/passwd", "'..'"),
        ("a\nb", "control character"),
        ("a\x00", "control character"),
        ("a\u200b", "control character"),
        ("a\xadb", "control character"),
        ("a\ud800", "control character"),
        (" a", "white space"),
        ("a ", "white space"),
        ("x" * 257, "257 characters"),
        ("{{ params.id }}", "a template or a list"),
        ("{% if x %}", "a template or a list"),
        ("['1', '2']", "a template or a list"),
        ("None", "gave nothing"),
        ("null", "gave nothing"),
        ("NaN", "gave nothing"),
    ],
)
@pytest.mark.parametrize(
    "form", [lambda each: each, lambda each: {"media_id": each}], ids=["text", "mapping"]
)
def test_media_id_unusable_is_refused_by_position(media_id, said, form):
    text = refusal(["good", form(media_id)])
    assert "media_ids[1]" in text
    assert said in text


@pytest.mark.parametrize("entry", [1, 1.5, None, True, b"a", ["a"], object(), {"a"}])
def test_media_ids_entry_of_wrong_type_is_refused_by_position(entry):
    text = refusal([entry])
    assert "media_ids[0]" in text
    assert (NATIVE in text) == (type(entry) is int)


@pytest.mark.parametrize("media_id", [1, None, True, b"a", ["a"]])
def test_media_ids_mapping_with_wrong_id_is_refused_by_key(media_id):
    text = refusal([{"media_id": media_id}])
    assert "media_ids[0]['media_id']" in text
    assert (NATIVE in text) == (type(media_id) is int)


def test_media_ids_mapping_without_id_is_refused():
    assert refusal([{"id": "a"}]) == (
        "media_ids[0] has no 'media_id'; rename the key of its media ID; it has 'id'"
    )
    assert refusal([{}]).endswith("; it has none")


@pytest.mark.parametrize(
    "value",
    [None, 1, True, b"a", b"[]", {"a"}, {"media_id": "a"}, "{'media_id': 'a'}", iter(["a"]), object()],
)
def test_media_ids_of_wrong_type_are_refused_by_name(value):
    assert refusal(value).startswith("media_ids must be a list")


def test_media_ids_of_wrong_type_are_refused_by_type():
    assert ", not None; give media IDs as" in refusal(None)
    assert ", not float; give media IDs as" in refusal(5.0)
    assert ", not int; write it in quotes, " in refusal(5)


@pytest.mark.parametrize(
    ("value", "said"), [("", "empty"), ("  ", "empty"), ("None", "'None'"), ("null", "'null'")]
)
def test_media_ids_text_that_an_upstream_without_result_gives_is_refused(value, said):
    assert f"media_ids is {said}: the template or task it comes from gave nothing" in refusal(value)


@pytest.mark.parametrize("value", ["[1, 2]", "1001, 1002", '[["a"]]'])
def test_media_ids_text_holding_wrong_entries_is_refused(value):
    assert "media_ids[0]" in refusal(value)


def test_media_ids_refusal_stops_the_task_and_is_a_value_error():
    with pytest.raises(AirflowFailException):
        parse_media_ids([""])
    with pytest.raises(ValueError, match="empty"):
        parse_media_ids([""])


@pytest.mark.parametrize("value", ["[" * 100_000, "(" * 100_000, "{[" * 5000])
def test_media_ids_deep_text_is_refused(value):
    assert "no media ID" in refusal(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(value=JSON | JSON.map(json.dumps) | JSON.map(str) | st.text(max_size=20))
def test_media_ids_any_value_gives_clean_distinct_ids_or_a_refusal(value):
    try:
        items = parse_media_ids(value)
    except NxCloudInputError:
        return
    found = [item.media_id for item in items]
    assert len(set(found)) == len(found)
    assert all(0 < len(each) <= 256 and each.isprintable() and each == each.strip() for each in found)
    assert not any("/" in each or ".." in each for each in found)


@given(found=st.lists(st.text("abc123-_=", min_size=1, max_size=4).filter(lambda each: each != "null")))
def test_media_ids_list_keeps_every_distinct_id_in_order_in_every_form(found):
    expected = list(dict.fromkeys(found))
    for form in (found, tuple(found), json.dumps(found), str(found), [{"media_id": each} for each in found]):
        assert ids(form) == expected


def test_media_repr_hides_the_query_of_its_url():
    media = Media("a", "image/png", "a.png", "https://bucket.example.com/a?Expires=1&Signature=canary")
    assert "canary" not in f"{media!r} {media}"
    assert "url='https://bucket.example.com/a?...'" in repr(media)


def test_media_repr_hides_a_query_with_an_at_sign_in_it():
    media = Media("a", None, None, "https://bucket.example.com/a?Signature=x@canary")
    assert "url='https://bucket.example.com/a?...'" in repr(media)


def test_media_repr_hides_credentials_in_its_url():
    media = Media("a", None, None, "https://me:canary@bucket.example.com/a")
    assert "url='https://bucket.example.com/a'" in repr(media)


def test_media_repr_without_query_shows_the_url_as_it_is():
    assert "url='https://bucket.example.com/a'" in repr(
        Media("a", None, None, "https://bucket.example.com/a")
    )


@pytest.mark.parametrize("text", ["{{ ['1000000002'] }}", "{{ params.media_ids }}"])
def test_template_that_was_not_rendered_is_named(text):
    assert f"a template that was not rendered: {text!r}" in refusal(text)
    assert len(refusal(text * 100)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "{[1]}",
        "[abc",
        "a1,b2",
        "a1 b2",
        "a1;b2",
        "<Undefined>",
        "['1'",
        "[{'media_id': '1', 'sent': datetime.datetime(2026, 1, 1)}]",
        "'a', 'b'c",
        "['1' '2']",
        "['1'\n \"2\"]",
        "[u'1' u'2']",
        '"a" "b',
        "a\nb",
    ],
)
def test_media_ids_text_that_is_no_id_is_refused(text):
    assert "text that is no media ID, no JSON and no Python literal" in refusal(text)


@pytest.mark.parametrize("caption", ["Hello {{1}}", "50 % {% off", "{# note", "{{ conn.x.password }}"])
@pytest.mark.parametrize("form", [json.dumps, str])
def test_media_ids_text_that_is_data_is_no_template(form, caption):
    assert parse_media_ids(form([{"media_id": "1", "caption": caption}])) == [MediaItem("1")]
