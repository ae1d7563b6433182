"""The connection: real Connection objects in, settings or an error that names the field out."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, BaseHook, Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_nxcloud.connection.settings import ConnectionSettings
from airflow_provider_nxcloud.exceptions import NxCloudInputError

pytestmark = pytest.mark.usefixtures("masker")

SECRET = "canary-s3cret"
UI = {"conn_type": "nxcloud", "login": "key", "password": SECRET}
DEFAULT = "https://api2.nxcloud.com"


def make(**fields) -> Connection:
    if isinstance(fields.get("extra"), dict):
        fields["extra"] = json.dumps(fields["extra"])
    return Connection(conn_id="nx", **{**UI, **fields})


def read(business_phone=None, **fields) -> ConnectionSettings:
    return ConnectionSettings.from_connection(make(**fields), business_phone=business_phone)


def refusal(**fields) -> str:
    with pytest.raises(NxCloudInputError) as caught:
        read(**fields)
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def from_environment(monkeypatch):
    def fetch(spelling: str) -> ConnectionSettings:
        monkeypatch.setenv("AIRFLOW_CONN_NX", spelling)
        return ConnectionSettings.from_connection(BaseHook.get_connection("nx"))

    return fetch


def as_json(**fields) -> str:
    return json.dumps({**UI, **fields})


KEYS = f"key:{SECRET}"


@pytest.mark.parametrize(
    ("base_url", "spellings"),
    [
        pytest.param(
            DEFAULT,
            [
                f"nxcloud://{KEYS}@",
                f"nxcloud://{KEYS}@/",
                f"nxcloud://{KEYS}@api2.nxcloud.com",
                f"nxcloud://{KEYS}@API2.nxcloud.com/",
                f"nxcloud://{KEYS}@api2.nxcloud.com/https",
                f"nxcloud://{KEYS}@https%3A%2F%2Fapi2.nxcloud.com",
                f"nxcloud://{KEYS}@https%3A%2F%2Fapi2.nxcloud.com/",
                f"nxcloud://https://{KEYS}@api2.nxcloud.com",
                f"nxcloud://https://{KEYS}@api2.nxcloud.com/https",
                f"nxcloud+http://{KEYS}@api2.nxcloud.com",
                f"generic://{KEYS}@api2.nxcloud.com",
                f"http://{KEYS}@api2.nxcloud.com",
                f"https://{KEYS}@api2.nxcloud.com",
                as_json(),
                as_json(host=None, schema=None, port=None, extra={}),
                as_json(host="", schema="", port=0, extra=""),
                as_json(host="api2.nxcloud.com/"),
                as_json(host=" https://api2.nxcloud.com/ ", schema="HTTPS"),
                as_json(host="HTTPS://API2.NXCLOUD.COM", conn_type="http"),
            ],
            id="default",
        ),
        pytest.param(
            "http://127.0.0.1:8080",
            [
                f"nxcloud://{KEYS}@127.0.0.1:8080/http",
                f"nxcloud://{KEYS}@http%3A%2F%2F127.0.0.1%3A8080",
                f"nxcloud://{KEYS}@http%3A%2F%2F127.0.0.1:8080",
                f"nxcloud://http://{KEYS}@127.0.0.1:8080/http",
                f"http://{KEYS}@127.0.0.1:8080/http",
                as_json(host="http://127.0.0.1:8080/"),
                as_json(host="http://127.0.0.1", port=8080),
                as_json(host="127.0.0.1:8080", port="8080", schema="http"),
            ],
            id="http with a port",
        ),
        pytest.param(
            "https://proxy.example.com:8443/nx/api",
            [
                f"nxcloud://{KEYS}@https%3A%2F%2Fproxy.example.com%3A8443%2Fnx%2Fapi%2F",
                as_json(host="https://proxy.example.com:8443/nx/api/"),
                as_json(host="proxy.example.com/nx/api", port=8443),
            ],
            id="path",
        ),
        pytest.param(
            "http://[::1]:8080",
            [
                f"nxcloud://{KEYS}@[::1]:8080/http",
                f"nxcloud://{KEYS}@http%3A%2F%2F%5B%3A%3A1%5D%3A8080",
                as_json(host="http://[::1]:8080"),
                as_json(host="::1", port=8080, schema="http"),
            ],
            id="IPv6",
        ),
        pytest.param(
            "http://api2.nxcloud.com:8080",
            [f"nxcloud://{KEYS}@:8080/http", as_json(port=8080, schema="http")],
            id="no host",
        ),
        pytest.param("https://xn--bcher-kva.example", [as_json(host="bücher.example")], id="IDN"),
        pytest.param(
            "https://xn--r8jz45g.xn--zckzah:8443", [as_json(host="例え.テスト:8443")], id="IDN and port"
        ),
    ],
)
def test_every_spelling_gives_the_same_base_url(from_environment, base_url, spellings):
    assert {spelling: from_environment(spelling).base_url for spelling in spellings} == dict.fromkeys(
        spellings, base_url
    )


def test_the_spelling_that_airflow_itself_exports_gives_the_same_settings(from_environment):
    fields = {
        "host": "https://api.example.com:8443/nx",
        "extra": {"timeout": 7, "verify": False, "proxies": {"https": "http://p:3128"}},
    }
    settings = from_environment(make(**fields).get_uri())
    assert settings == read(**fields)
    assert (settings.timeout, settings.verify, settings.proxies) == (7, False, {"https": "http://p:3128"})


EXTRA = {
    "business_phone": 8613800000000,
    "timeout": 7.5,
    "max_attempts": 2,
    "verify": False,
    "proxies": {"https": "http://proxy.example.com:3128"},
    "allowed_media_hosts": ["*.Aliyuncs.com", "cdn.example.com"],
}
EXTRA_AS_TEXT = {
    "business_phone": "+86 (138) 0000-0000",
    "timeout": "7.5",
    "max_attempts": "2",
    "verify": "False",
    "proxies": '{"https": "http://proxy.example.com:3128"}',
    "allowed_media_hosts": "*.Aliyuncs.com, cdn.example.com",
}


@pytest.mark.parametrize(
    "spelling",
    [
        as_json(extra=EXTRA),
        as_json(extra=json.dumps(EXTRA_AS_TEXT)),
        as_json(extra={**EXTRA_AS_TEXT, "allowed_media_hosts": '["*.Aliyuncs.com", "cdn.example.com"]'}),
        f"nxcloud://{KEYS}@/?" + "&".join(f"{key}={quote(value)}" for key, value in EXTRA_AS_TEXT.items()),
        f"nxcloud://{KEYS}@/?__extra__=" + quote(json.dumps(EXTRA)),
    ],
)
def test_extra_is_read_as_json_and_as_text(from_environment, spelling):
    assert from_environment(spelling) == ConnectionSettings(
        conn_id="nx",
        base_url=DEFAULT,
        access_key="key",
        access_secret=SECRET,
        business_phone="8613800000000",
        timeout=7.5,
        max_attempts=2,
        verify=False,
        proxies={"https": "http://proxy.example.com:3128"},
        allowed_media_hosts=("*.aliyuncs.com", "cdn.example.com"),
    )


@pytest.mark.parametrize("plain", [{}, dict.fromkeys(EXTRA), dict.fromkeys(EXTRA, "")])
def test_fields_of_an_old_form_are_read_where_the_plain_name_is_absent(plain, caplog):
    old = {f"extra__nxcloud__{name}": value for name, value in EXTRA.items()}
    assert read(extra={**old, **plain}) == read(extra=EXTRA)
    assert not [r for r in caplog.records if r.name.startswith("airflow_provider_nxcloud")]


def test_field_of_an_old_form_that_says_something_else_is_warned_of(caplog):
    old = {"extra__nxcloud__timeout": 5, "extra__nxcloud__max_attempts": 2}
    assert read(extra={**old, "timeout": 3, "max_attempts": 2}).timeout == 3
    assert "ignoring 'extra__nxcloud__timeout';" in caplog.text


@pytest.mark.parametrize("empty", [[], [""], "[]"])
def test_field_of_an_old_form_is_read_where_the_plain_one_is_an_empty_list(empty):
    hosts = {"allowed_media_hosts": empty, "extra__nxcloud__allowed_media_hosts": ["*.aliyuncs.com"]}
    assert read(extra=hosts).allowed_media_hosts == ("*.aliyuncs.com",)


def test_field_of_an_old_form_is_checked_and_named():
    with pytest.raises(NxCloudInputError, match="allowed_media_hosts"):
        read(extra={"extra__nxcloud__allowed_media_hosts": "https://host/path"})


@pytest.mark.parametrize("unset", [None, "", " "])
def test_extra_null_or_blank_counts_as_absent(unset):
    assert read(extra=dict.fromkeys(EXTRA, unset)) == read(extra=None) == read(extra="{}")


def test_empty_list_and_object_count_as_absent():
    assert read(extra={"proxies": {}, "allowed_media_hosts": []}) == read()


@pytest.mark.parametrize(
    ("hosts", "globs"),
    [
        (["h", "g", ""], ("h", "g")),
        (["", " "], ()),
        ("h,\n g,", ("h", "g")),
        ('["h", ""]', ("h",)),
        (",", ()),
        # As a host name of a URL has them.
        ("[2001:db8::1], [FC00::*]", ("2001:db8::1", "fc00::*")),
    ],
)
def test_hosts_are_read_without_blank_lines_items_and_brackets(hosts, globs):
    assert read(extra={"allowed_media_hosts": hosts}).allowed_media_hosts == globs


@pytest.mark.parametrize(
    ("host", "schema", "port", "names"),
    [
        ("https://h.example", "http", None, ["host", "https", "schema", "http"]),
        ("https://h.example:1", None, 2, ["host", "port", "1", "2"]),
        ("h.example:1", None, 2, ["host", "port", "1", "2"]),
        ("h.example", "ftp", None, ["schema", "'ftp'", "https"]),
        ("h.example", "api/wa", None, ["schema", "'api/wa'", "path"]),
        ("ftp://h.example", None, None, ["host", "http"]),
        ("h.example", None, 65536, ["port", "65536"]),
        ("h.example", None, -1, ["port", "-1"]),
        ("h.example:port", None, None, ["host", "h.example:port"]),
        ("h.example:65536", None, None, ["host", "65536"]),
        ("h.example:80:80", None, None, ["host"]),
        ("https://", None, None, ["host"]),
        ("https:///path", None, None, ["host"]),
        ("https:/h.example", None, None, ["host", "https"]),
        ("http//h.example", None, None, ["host", "http"]),
        ("https%3A%2F%2Fh.example", None, None, ["host"]),
        ("h .example", None, None, ["host", "white space"]),
        ("h.example\n/x", None, None, ["host", "invisible"]),
        ("h.example\\x", None, None, ["host", "backslash"]),
        ("[::1", None, None, ["host"]),
        ("[h.example]", None, None, ["host"]),
        ("fe80::1%eth0", None, None, ["host"]),
        ("..", None, None, ["host"]),
        ("ü" * 70 + ".example", None, None, ["host"]),
    ],
)
def test_wrong_address_is_refused_naming_the_field(host, schema, port, names):
    text = refusal(host=host, schema=schema, port=port)
    assert "'nx'" in text
    for name in names:
        assert name in text


@pytest.mark.parametrize(
    "host",
    [
        f"https://user:{SECRET}@h.example",
        f"//user:{SECRET}@h.example",
        f"user:{SECRET}@h.example",
        f"https://h.example/?token={SECRET}",
        f"h.example#{SECRET}",
    ],
)
def test_host_with_user_name_query_or_fragment_is_refused_without_being_shown(host):
    assert "host must be a URL without user name" in refusal(host=host)


def test_secret_that_broke_its_uri_is_not_shown_as_schema(from_environment):
    with pytest.raises(NxCloudInputError, match="login") as caught:
        from_environment("nxcloud://key:12/34canary@h.example")
    assert "34canary" not in str(caught.value)


@pytest.mark.parametrize("field", ["login", "password"])
@pytest.mark.parametrize(
    "value", [None, "", " ", f" {SECRET}", f"{SECRET}\n", f"{SECRET}\u200b", f"{SECRET}\x00x"]
)
def test_login_and_password_have_to_be_clean(field, value):
    text = refusal(**{field: value})
    assert text.startswith(f"{field} (")
    assert text.endswith("(connection 'nx')")
    assert "missing" in text if not (value or "").strip() else "invisible character" in text


def test_access_key_travels_as_header_so_it_is_ascii_but_the_secret_need_not_be():
    assert "login" in refusal(login="ключ")
    assert read(password="пароль").access_secret == "пароль"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("timeout", value) for value in (0, -1, "abc", "nan", "inf", 3600.1, "1e999", True, [30], {})],
        *[("max_attempts", value) for value in (0, 101, -1, 2.5, "2.5", "five", "²", True, [5])],
        *[("verify", value) for value in (0, 1, "yes", "/no/such/ca.pem", "a\x00b", [], {})],
        *[
            ("business_phone", value)
            for value in ("1234", "1" * 21, "12.345.678", "٣٤٥٦٧٨٩", "x", True, 8.6e12, [])
        ],
        *[
            ("allowed_media_hosts", value)
            for value in ("https://h", "h/x", "h:80", ["h", 1], [None], 5, {"a": 1}, ["a b"], '["h"')
        ],
    ],
)
def test_wrong_extra_is_refused_naming_connection_field_and_value(field, value):
    text = refusal(extra={field: value})
    assert text.startswith(f"{field} (in extra) must ")
    assert text.endswith("(connection 'nx')")
    assert "not " in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_timeout_that_json_ought_not_to_hold_is_refused(value):
    assert "timeout" in refusal(extra=json.dumps({"timeout": value}))


@pytest.mark.parametrize(
    "proxies",
    [
        SECRET,
        f'{{"https": "{SECRET}"',
        5,
        [f"http://u:{SECRET}@p:3128"],
        {"https": f"u:{SECRET}@p:3128"},
        {"https": f"http://u:{SECRET}@p:port"},
        {"https": f"http://u:{SECRET}@"},
        {"https": f"http://u:{SECRET}@p:3128\n"},
        {"https": 3128},
        {"https": None},
        {"ftp": f"http://u:{SECRET}@p:3128"},
        {"https://api2.nxcloud.com:443": f"http://u:{SECRET}@p:3128"},
        {"https://[::1]": f"http://u:{SECRET}@p:3128"},
    ],
)
def test_wrong_proxies_are_refused_without_being_shown(proxies):
    assert refusal(extra={"proxies": proxies}).startswith("proxies (in extra) must ")


@pytest.mark.parametrize(
    "proxies",
    [
        {"http": "http://p"},
        {"all": "socks5h://u:w@[::1]:1080"},
        {"https://api2.nxcloud.com": "https://p:3128"},
        {"http://::1": "http://p"},
    ],
)
def test_proxies_that_requests_knows_are_accepted(proxies):
    assert read(extra={"proxies": proxies}).proxies == proxies


def test_keys_of_proxies_count_in_any_case_as_hosts_do():
    proxies = {"HTTPS": "http://P:1", "all://API2.nxcloud.com": "http://p:2"}
    assert read(extra={"proxies": proxies}).proxies == {
        "https": "http://P:1",
        "all://api2.nxcloud.com": "http://p:2",
    }


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_verify_may_be_a_ca_file_or_directory(tmp_path, kind):
    path = tmp_path / "ca"
    path.touch() if kind == "file" else path.mkdir()
    assert read(extra={"verify": str(path)}).verify == str(path)


@pytest.mark.parametrize(
    ("written", "verify"), [(True, True), (False, False), ("TRUE", True), ("false", False)]
)
def test_verify_as_a_switch(written, verify):
    assert read(extra={"verify": written}).verify is verify


@pytest.mark.filterwarnings("ignore:Encountered")  # Airflow 2.11 warns of such extras itself
@pytest.mark.parametrize("extra", ["not json", "[]", '"text"', "5", "null", "[" * 100_000])
def test_extra_that_is_no_json_object_is_refused(extra):
    try:
        connection = make(extra=extra)
    except RecursionError:
        pytest.skip("this Airflow cannot hold such an extra")
    with pytest.raises(NxCloudInputError, match=r"^extra must be a JSON object"):
        ConnectionSettings.from_connection(connection)


def test_unknown_extra_gives_one_warning_without_values_and_is_not_used(caplog):
    with caplog.at_level(logging.DEBUG, logger="airflow_provider_nxcloud"):
        settings = read(extra={"token": SECRET, "Timeout": 5, "headers": {"a": SECRET}, "timeout": 8})
    assert settings == read(extra={"timeout": 8})
    (record,) = caplog.records[:1]
    assert record.levelno == logging.WARNING
    for key in ("'nx'", "'token'", "'Timeout'", "'headers'"):
        assert key in record.getMessage()
    assert len([r for r in caplog.records if r.name.startswith("airflow_provider_nxcloud")]) == 1
    assert SECRET not in caplog.text


def test_known_extra_gives_no_warning(caplog):
    read(extra=EXTRA)
    # Airflow 2's Test button sends each field of the form twice.
    read(extra={**EXTRA, **{f"extra__nxcloud__{name}": value for name, value in EXTRA.items()}})
    assert not [r for r in caplog.records if r.name.startswith("airflow_provider_nxcloud")]


@pytest.mark.parametrize(
    ("conn_type", "warned"),
    [("aws", True), ("ftp", True), ("nxcloud+http", False), ("generic", False), ("http", False)],
)
def test_connection_of_another_service_is_used_with_a_warning(caplog, conn_type, warned):
    assert read(conn_type=conn_type) == read()
    texts = [r.getMessage() for r in caplog.records if r.name.startswith("airflow_provider_nxcloud")]
    assert [text.startswith(f"Connection 'nx' is of type {conn_type!r}, not nxcloud") for text in texts] == (
        [True] if warned else []
    )


@pytest.mark.parametrize(
    ("argument", "extra", "phone"),
    [
        (None, None, None),
        (None, "8613800000000", "8613800000000"),
        ("+44 20-7946 0000", "8613800000000", "442079460000"),
        (442079460000, "wrong", "442079460000"),
    ],
)
def test_business_phone_argument_beats_the_connection(argument, extra, phone):
    assert read(business_phone=argument, extra={"business_phone": extra}).business_phone == phone


@pytest.mark.parametrize("argument", ["", "abc", "1234"])
def test_wrong_business_phone_argument_is_refused_and_not_replaced(argument):
    with pytest.raises(
        NxCloudInputError, match=f"^argument business_phone must be 5 to 20 digits.*{argument!r}"
    ):
        read(business_phone=argument, extra={"business_phone": "8613800000000"})


@pytest.mark.parametrize(
    "written", ["+8613800000000", "86 138 0000 0000", "(86)138-0000\u20110000", "[86]\u00a01380000\u20130000"]
)
def test_business_phone_is_read_without_separators(written):
    assert read(business_phone=written).business_phone == "8613800000000"


def test_errors_fail_the_task_at_once_and_are_value_errors():
    with pytest.raises(NxCloudInputError) as caught:
        read(login=None)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, AirflowFailException)


def test_repr_shows_no_secret():
    proxies = {"https": f"http://u:{SECRET}@p:3128"}
    settings = read(extra={"proxies": proxies})
    assert (settings.access_secret, settings.proxies) == (SECRET, proxies)
    assert SECRET not in repr(settings)


def test_from_connection_sends_the_supervisor_nothing_so_that_it_may_run_on_an_event_loop(monkeypatch):
    task_runner = pytest.importorskip("airflow.sdk.execution_time.task_runner")

    class Supervisor:
        def __init__(self) -> None:
            self.sent: list[object] = []

        def send(self, message: object) -> None:
            self.sent.append(message.value)

    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    settings = read(extra=EXTRA)
    assert supervisor.sent == []
    settings.mask_secrets()
    assert supervisor.sent == [SECRET]


def test_mask_secrets_hides_secret_and_proxy_password_in_logs(masker):
    settings = ConnectionSettings.from_connection(
        make(password="maskme-secret", extra={"proxies": {"https": "http://u:maskme%2Fproxy@p:3128"}})
    )
    line = "maskme-proxy-not maskme%2Fproxy maskme/proxy"
    assert masker.redact(line) == line
    settings.mask_secrets()
    assert masker.redact(line) == "maskme-proxy-not *** ***"
    assert masker.redact("sign with maskme-secret") == "sign with ***"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELD_TEXT = st.none() | st.text() | st.text("htps:/.[]@?#%1a \\", max_size=25)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    host=FIELD_TEXT,
    schema=st.none() | st.sampled_from(["", "http", "https", "x"]),
    port=st.none() | st.integers(-1, 70_000),
    login=st.just("key") | st.text(),
    password=st.just(SECRET) | st.text(st.characters(exclude_categories=["Cs"])),
    extra=st.dictionaries(st.sampled_from(sorted(EXTRA)) | st.text(), JSON | FIELD_TEXT, max_size=4),
)
def test_whatever_a_connection_holds_gives_sound_settings_or_the_documented_error(
    host, schema, port, login, password, extra
):
    connection = make(
        host=host, schema=schema, port=port, login=login, password=password, extra=json.dumps(extra)
    )
    try:
        result = ConnectionSettings.from_connection(connection)
    except NxCloudInputError:
        return
    scheme, _, rest = result.base_url.partition("://")
    assert scheme in {"http", "https"}
    assert rest
    assert result.base_url.isprintable()
    assert not set(" @?#\\") & set(result.base_url)
    assert not result.base_url.endswith("/")
    assert 0 < result.timeout <= 3600
    assert 1 <= result.max_attempts <= 100
    assert read(host=result.base_url).base_url == result.base_url
