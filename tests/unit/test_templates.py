"""What customers send is never rendered, by Airflow's own rendering of operator, sensor and mapped tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_nxcloud.exceptions import NxCloudInputError
from airflow_provider_nxcloud.media import parse_media_ids
from airflow_provider_nxcloud.operators.nxcloud import NxCloudGetMediaOperator
from airflow_provider_nxcloud.sensors.nxcloud import NxCloudMediaSensor
from airflow_provider_nxcloud.webhook import media_from_webhook

CANARY = "canary-secret"
EVIL = "{{ conn.nxcloud_default.password }}"
CONTEXT = {
    "conn": {"nxcloud_default": {"password": CANARY}},
    "params": {"id": "1000000001", "ids": ["1", "2"], "data": [{"media_id": "1", "caption": EVIL}]},
    "ds": "2026-01-01",
}
KINDS = [NxCloudGetMediaOperator, NxCloudMediaSensor]
OPERATOR_ONLY = {"destination": "file:///media/{{ ds }}"}


def build(kind: type, native: bool = False, **arguments: object) -> object:
    if kind is NxCloudGetMediaOperator:
        arguments = {**OPERATOR_ONLY, **arguments}
    with DAG("dag", schedule=None, render_template_as_native_obj=native):
        return kind(task_id="task", **arguments)


def rendered(kind: type, media_ids: object, *, native: bool = False) -> object:
    """Return what Airflow makes of ``media_ids`` before it executes the task."""
    task = build(kind, native, media_ids=media_ids)
    task.render_template_fields({**CONTEXT, "task": task})
    return task.media_ids


def rendered_mapped(kind: type, expand: str, value: object) -> object:
    """Return what Airflow makes of a mapped task's ``media_ids`` that stands in the DAG."""
    if expand == "expand":
        return _render_mapped(kind, lambda partial: partial.expand(media_ids=[value]))
    return _render_mapped(kind, lambda partial: partial.expand_kwargs([{"media_ids": value}]))


def rendered_of_task(kind: type, returned: dict[str, object], **partial: object) -> object:
    """Return what Airflow makes of ``media_ids`` when another task returned the arguments to map over."""

    def expand(of: object) -> object:
        plain = type(BaseOperator(task_id="list").output)
        output = type("Returned", (plain,), {"resolve": lambda *_, **__: [returned]})
        return of.expand_kwargs(output(BaseOperator(task_id="listed")), strict=False)

    return _render_mapped(kind, expand, **partial)


def _render_mapped(kind: type, expand: Callable, **arguments: object) -> object:
    if kind is NxCloudGetMediaOperator:
        arguments = {**OPERATOR_ONLY, **arguments}
    with DAG("dag", schedule=None) as dag:
        mapped = expand(kind.partial(task_id="task", **arguments))
    run = {"dag": dag, "dag_run": SimpleNamespace(conf={}), "run_id": "run"}
    context = {**CONTEXT, **run, "ti": SimpleNamespace(map_index=0), "task": mapped}
    mapped.render_template_fields(context)
    return context["task"].media_ids


DATA = [
    {"media_id": "1", "file_name": f"{EVIL}.pdf"},
    {"media_id": "2", "caption": "50 % {% off", "nested": [{"deep": (EVIL, "{# x")}]},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("form", [list, json.dumps, str])
def test_nothing_inside_a_mapping_is_rendered(kind, native, form):
    media_ids = rendered(kind, form(DATA), native=native)
    assert json.dumps(media_ids) == json.dumps(DATA)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("expand", ["expand", "expand_kwargs"])
@pytest.mark.parametrize("form", [list, json.dumps, str])
def test_nothing_inside_a_mapping_of_a_mapped_task_is_rendered(kind, expand, form):
    assert json.dumps(rendered_mapped(kind, expand, form(DATA))) == json.dumps(DATA)


#: What is neither JSON nor a Python literal, and holds what a customer sent.
BROKEN = [
    f"[{{'media_id': '1', 'caption': '{EVIL}', 'at': datetime.datetime(2026, 1, 1)}}]",
    f'[{{"media_id": "1", "caption": "{EVIL}\n"}}]',
    f'\ufeff[{{"media_id": "1", "caption": "{EVIL}"}}]',
    f'{{"media_id": "1", "caption": "{EVIL}"}}\n{{"media_id": "2"}}',
    f"OrderedDict([('media_id', '1'), ('caption', '{EVIL}')])",
    f"- media_id: 1\n  caption: {EVIL}",
    f'["a", "{EVIL}"',
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("text", BROKEN)
def test_text_that_begins_like_data_is_refused_as_it_is(kind, native, text):
    assert rendered(kind, text, native=native) == text
    with pytest.raises(NxCloudInputError, match="media_ids"):
        parse_media_ids(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [EVIL, [f"{EVIL}1"], json.dumps(DATA), DATA, *BROKEN])
def test_nothing_that_a_task_returned_for_a_mapped_task_is_rendered(kind, value):
    assert rendered_of_task(kind, {"media_ids": value}) == value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("returned", [EVIL, [f"{EVIL}1"]])
def test_what_a_task_returned_in_place_of_the_author_is_not_rendered_either(kind, returned):
    assert rendered_of_task(kind, {"media_ids": returned}, media_ids=["{{ ds }}"]) == returned


@pytest.mark.parametrize("kind", KINDS)
def test_template_beside_what_a_task_returned_is_rendered(kind):
    assert rendered_of_task(kind, {"business_phone": "8613800138000"}, media_ids="{{ ds }}") == "2026-01-01"


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("media_ids", "expected"),
    [
        ("{{ params.id }}", ["1000000001"]),
        ("{{ params.ids }}", ["1", "2"]),
        (["{{ params.id ~ '-x' }}", "b"], ["1000000001-x", "b"]),
        ('["{{ params.id ~ \'-x\' }}", {"media_id": "b"}]', ["1000000001-x", "b"]),
        ('["{{ params.id }}", "1000000002"]', ["1000000001", "1000000002"]),
        ("{{ params.data }}", ["1"]),
        ("{% for each in params.ids %}a{{ each }}{% endfor %}", ["a1a2"]),
        ("[{% for each in params.ids %}'a{{ each }}',{% endfor %}]", ["a1", "a2"]),
        ("wamid.{{ params.id }}", ["wamid.1000000001"]),
    ],
)
def test_what_an_author_writes_is_rendered(kind, media_ids, expected, native):
    if native and media_ids == "{{ params.id }}":
        media_ids = "{{ params.id ~ '' | string }}x"
        expected = ["1000000001x"]
    assert [item.media_id for item in parse_media_ids(rendered(kind, media_ids, native=native))] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_id_templates_of_a_mapped_task_are_rendered(kind):
    assert rendered_mapped(kind, "expand_kwargs", ["{{ ds }}"]) == ["2026-01-01"]


def test_other_fields_are_templates_although_they_look_like_media_ids():
    task = build(
        NxCloudGetMediaOperator, media_ids=["a"], destination="file:///m/{{ ds }}", manifest="/m/{{ ds }}"
    )
    task.render_template_fields({**CONTEXT, "task": task})
    assert (task.destination, task.manifest) == ("file:///m/2026-01-01", "/m/2026-01-01")


def test_templated_field_of_a_subclass_is_rendered_as_ever():
    class Encrypting(NxCloudGetMediaOperator):
        template_fields = (*NxCloudGetMediaOperator.template_fields, "write_kwargs")

    task = build(Encrypting, media_ids=["a"], destination="s3://b", write_kwargs={"SSEKMSKeyId": "{{ ds }}"})
    task.render_template_fields({**CONTEXT, "task": task})
    assert task.write_kwargs == {"SSEKMSKeyId": "2026-01-01"}


FRAGMENTS = st.sampled_from(
    [EVIL, "{{", "}}", "{%", "%}", "{# ", "{{ ds }}", "{{ 1/0 }}", "\\", "'", '"', "\0"]
)
TEXT = st.lists(FRAGMENTS | st.text(max_size=4), max_size=4).map("".join)
VALUE = (
    TEXT | st.none() | st.integers() | st.lists(TEXT, max_size=2) | st.dictionaries(TEXT, TEXT, max_size=2)
)
GOOD = {"media_id": "good", "file_name": "good.pdf"}


def check(listed: list, kind: type, native: bool) -> None:
    """Rendered or not, each item says the same, the good one is untouched, and no secret is anywhere."""
    try:
        expected = parse_media_ids([*listed, GOOD])
    except NxCloudInputError:
        return
    given = [item.given for item in expected]
    for form in (list, json.dumps, str):
        media_ids = rendered(kind, form([*listed, GOOD]), native=native)
        assert CANARY not in str(media_ids)
        items = parse_media_ids(media_ids)
        assert items == expected
        assert [json.loads(json.dumps(item.given)) for item in items] == given
        assert items[-1].media_id == "good"


@settings(max_examples=100, derandomize=True, database=None)
@given(
    mappings=st.lists(
        st.fixed_dictionaries(
            {"media_id": st.text("0123456789abc", min_size=1, max_size=4)},
            optional=dict.fromkeys(
                ("sha256", "mime_type", "file_name", "caption", "from_number", "other"), VALUE
            ),
        ),
        max_size=3,
    ),
    kind=st.sampled_from(KINDS),
    native=st.booleans(),
)
def test_whatever_stands_in_a_mapping_is_data(mappings, kind, native):
    check(mappings, kind, native)


@settings(max_examples=100, derandomize=True, database=None)
@given(
    media=st.fixed_dictionaries(
        {"id": st.text("0123456789", min_size=1, max_size=4) | TEXT},
        optional=dict.fromkeys(("mime_type", "sha256", "filename", "caption"), VALUE),
    ),
    message=st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "from", "timestamp", "user_id"), VALUE)),
    callback=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("merchant_phone", "contacts", "metadata"), VALUE)
    ),
    kind=st.sampled_from(KINDS),
    native=st.booleans(),
)
def test_whatever_stands_in_a_callback_is_data(media, message, callback, kind, native):
    good = {"type": "image", "image": {"id": "first"}}
    odd = {**message, "type": "document", "document": media}
    listed = media_from_webhook({**callback, "messages": [good, odd]})
    assert listed[0]["media_id"] == "first"
    assert listed[0]["file_name"] is None
    check(listed, kind, native)
