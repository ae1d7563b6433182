"""Names in the destination: the same everywhere, safe whatever comes in, different for different media."""

from __future__ import annotations

import hashlib
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_nxcloud.exceptions import NxCloudInputError, NxCloudMediaRefusedError
from airflow_provider_nxcloud.media import Media, MediaItem
from airflow_provider_nxcloud.text import UNSAFE
from airflow_provider_nxcloud.transfer.object_names import (
    ObjectNames,
    safe_file_name,
    safe_media_id,
)

IDS = st.text(min_size=1, max_size=256).filter(
    lambda text: text.isprintable() and text == text.strip() and "/" not in text and ".." not in text
)


@pytest.mark.parametrize(
    ("sent", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Rechnung März 2026.pdf", "Rechnung März 2026.pdf"),
        ("发票.pdf", "发票.pdf"),
        ("cafe\u0301.txt", "café.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.doc", "a.doc"),
        ("..", ""),
        ("...", ""),
        ("", ""),
        ("a/", ""),
        (".bashrc", "bashrc"),
        (". .x", "x"),
        ("a..b.txt", "a.b.txt"),
        ("a\x00b\nc.txt", "a_b_c.txt"),
        ("rtl\u202egpj.exe", "rtl_gpj.exe"),
        ("\ud800.txt", "_.txt"),
        ('a<>:"|?*#%.txt', "a_________.txt"),
        ("a. ", "a"),
        ("می\u200cخواهم.pdf", "می\u200cخواهم.pdf"),  # noqa: RUF001
        ("合同\u3000最终版.pdf", "合同 最终版.pdf"),
        ("3.44.08\u202fPM.png", "3.44.08 PM.png"),
        ("a\xa0b\u2009c.txt", "a b c.txt"),
        ("👨\u200d👩\u200d👧.jpg", "👨\u200d👩\u200d👧.jpg"),
        ("क्\u200dष.pdf", "क्\u200dष.pdf"),
        ("\u200eattached\u2066x\u2069.jpg", "_attached_x_.jpg"),
        ("a\u2028b\u2029c\x85d\ufeff.txt", "a_b_c_d_.txt"),
        ("\U0001fae8\U000e0067.png", "\U0001fae8\U000e0067.png"),
        ("{{ conn.nxcloud_default.password }}.pdf", "{{ conn.nxcloud_default.password }}.pdf"),
    ],
)
def test_file_name_is_made_safe(sent, safe):
    assert safe_file_name(sent) == safe


def test_file_name_too_long_keeps_its_extension():
    name = safe_file_name("发" * 300 + ".pdf")
    assert len(name.encode()) <= 200
    assert name.endswith("发.pdf")
    assert safe_file_name("a" * 300 + "." + "b" * 10) == "a" * 189 + "." + "b" * 10
    assert safe_file_name("a" * 300 + "." + "b" * 11) == "a" * 200


def test_file_name_is_the_same_on_every_python():
    blocks = (range(start, start + 16) for start in range(0, sys.maxunicode, 16))
    names = [safe_file_name(f"a{'-'.join(map(chr, block))}b") for block in blocks]
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()
    assert digest == "45d0a56c4bc97b7a3192a2a13b523c2736ca413a4cede4f054c663cec727b589"


@given(sent=st.text(max_size=300) | st.text("./\\ab% ", max_size=40))
@example(sent="a" * 195 + "." + "b" * 20 + ".jpg")
@example(sent="a" * 199 + "." + "b" * 20)
@example(sent="a" * 198 + " " + "b" * 20)
def test_file_name_any_text_gives_one_safe_segment(sent):
    name = safe_file_name(sent)
    assert "/" not in name
    assert "\\" not in name
    assert ".." not in name
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert not UNSAFE.search(name)
    assert len(name.encode()) <= 200


@pytest.mark.parametrize(
    ("media_id", "safe"),
    [
        ("1234567890", "1234567890"),
        ("wamid.HBgL_-~", "wamid.HBgL_-~"),
        ("a b", "a%20b"),
        ("a%20b", "a%2520b"),
        ("a=b+c", "a%3Db%2Bc"),
        ("a\\b:c?d#e", "a%5Cb%3Ac%3Fd%23e"),
        ("a/b", "a%2Fb"),
        (".hidden", "%2Ehidden"),
        (".", "%2E"),
        ("%2E", "%252E"),
        ("牛", "%E7%89%9B"),
    ],
)
def test_media_id_is_made_safe(media_id, safe):
    assert safe_media_id(media_id) == safe


@given(media_id=IDS)
def test_media_id_any_gives_one_safe_segment(media_id):
    name = safe_media_id(media_id)
    assert 0 < len(name) <= 200
    assert name.isascii()
    assert name.isprintable()
    assert not {"/", "\\", " "} & set(name)
    assert ".." not in name
    assert not name.startswith(".")


@given(first=IDS, second=IDS)
@example(first="x" * 256, second="x" * 255 + "y")
@example(first="a b", second="a%20b")
@example(first=".", second="%2E")
@example(first="牛" * 40, second="牛" * 41)
def test_media_id_different_ones_stay_different(first, second):
    assert (safe_media_id(first) == safe_media_id(second)) == (first == second)


@pytest.mark.parametrize("length", [201, 230, 256])
def test_media_id_long_one_keeps_its_beginning_and_differs_by_its_end(length):
    names = {safe_media_id("x" * (length - 1) + end) for end in "abc"}
    assert len(names) == 3
    assert all(name.startswith("x" * 100) for name in names)


def test_media_id_that_looks_like_a_shortened_one_gets_another_name():
    shortened = safe_media_id("x" * 256)
    assert safe_media_id(shortened) != shortened


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{media_id}{extension}", "a%20b.pdf"),
        ("{media_id}/{file_name}", "a%20b/Invoice.PDF"),
        ("in/{media_id}_{file_name}{extension}", "in/a%20b_Invoice.PDF.pdf"),
        ("{{{media_id}}}", "{a%20b}"),
        ("fixed", "fixed"),
    ],
)
def test_pattern_fields_are_filled(pattern, name):
    item = MediaItem("a b", mime_type="application/pdf", file_name="x/Invoice.PDF")
    assert ObjectNames(pattern).claim(item) == name


def test_pattern_item_goes_before_the_answer():
    item = MediaItem("a", mime_type="image/png", file_name="mine.png")
    media = Media("a", "image/jpeg", "theirs.jpg", "https://example.com")
    assert ObjectNames("{file_name}{extension}").claim(item.completed_by(media)) == "mine.png.png"


def test_pattern_answer_fills_what_the_item_lacks():
    media = Media("a", "image/jpeg", "../theirs.jpg", "https://example.com")
    assert ObjectNames("{file_name}{extension}").claim(MediaItem("a").completed_by(media)) == "theirs.jpg.jpg"


def test_pattern_without_any_file_name_takes_the_id():
    media = Media("a", None, "..", "https://example.com")
    assert ObjectNames("{file_name}{extension}").claim(MediaItem("a").completed_by(media)) == "a.bin"


@pytest.mark.parametrize(
    ("pattern", "known_without", "known_with_type", "known_with_name"),
    [
        ("{media_id}", True, True, True),
        ("{media_id}{extension}", False, True, False),
        ("{media_id}/{file_name}", False, False, True),
        ("{file_name}{extension}", False, False, False),
    ],
)
def test_pattern_knows_what_it_needs_an_answer_for(pattern, known_without, known_with_type, known_with_name):
    names = ObjectNames(pattern)
    assert names.can_name(MediaItem("a")) == known_without
    assert names.can_name(MediaItem("a", mime_type="image/png")) == known_with_type
    assert names.can_name(MediaItem("a", file_name="a.png")) == known_with_name
    assert names.can_name(MediaItem("a", mime_type="image/png", file_name="a.png"))


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/",
        "/{media_id}",
        "{media_id}/",
        "a//{media_id}",
        "./{media_id}",
        "../{media_id}",
        "a/../{media_id}",
        "{sha256}",
        "{}",
        "{0}",
        "{media_id",
        "media_id}",
        "{media_id.__class__}",
        "{media_id[0]}",
        "{media_id:d}",
        "{media_id:{extension}}",
        "{media_id:{width}}",
        "{media_id:{extension.width}}",
        "{media_id!x}",
        "{media_id:>300}",
        "x" * 256,
        "é" * 128,
        None,
        1,
        b"{media_id}",
    ],
)
def test_pattern_unusable_is_refused_by_name(pattern):
    with pytest.raises(NxCloudInputError, match="object_name"):
        ObjectNames(pattern)


@pytest.mark.parametrize("pattern", ["a\x00{media_id}", "a\n{media_id}"], ids=["null", "newline"])
def test_pattern_with_control_character_is_refused(pattern):
    with pytest.raises(NxCloudInputError, match="object_name"):
        ObjectNames(pattern)


def test_pattern_name_longer_than_a_file_system_takes_is_refused():
    item = MediaItem("x" * 200, file_name="y" * 200, mime_type="image/png")
    with pytest.raises(NxCloudMediaRefusedError, match="255"):
        ObjectNames("{media_id}{file_name}").claim(item)
    assert ObjectNames("{media_id}/{file_name}").claim(item) == f"{'x' * 200}/{'y' * 200}"
    assert len(ObjectNames("{media_id}{file_name}").claim(MediaItem("x" * 55, file_name="y" * 200))) == 255


@given(media_id=IDS, mime_type=st.none() | st.text(max_size=20), file_name=st.none() | st.text(max_size=300))
def test_pattern_any_media_gives_safe_segments(media_id, mime_type, file_name):
    item = MediaItem(media_id, mime_type=mime_type, file_name=file_name)
    for pattern in ("{media_id}{extension}", "{media_id}/{file_name}"):
        for segment in ObjectNames(pattern).claim(item).split("/"):
            assert segment not in ("", ".", "..")
            assert not segment.startswith(".")
            assert len(segment.encode()) <= 255
