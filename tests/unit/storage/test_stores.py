"""What is refused before anything is fetched, and what error texts say of what stores answer."""

from __future__ import annotations

import re
import threading

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from botocore.exceptions import ClientError, ParamValidationError
from s3_stand_in import S3StandIn
from s3fs.errors import translate_boto_error

from airflow_provider_nxcloud.exceptions import (
    NxCloudCancelledError,
    NxCloudInputError,
    NxCloudStorageError,
    NxCloudStorageRefusedError,
)
from airflow_provider_nxcloud.storage.destination import make_storage
from airflow_provider_nxcloud.storage.errors import storage_error
from airflow_provider_nxcloud.storage.object_store import BLOCK_SIZE


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"extra": {"endpoint_url": "minio.example.com:9000"}}, "endpoint_url must begin with https://"),
        ({"extra": {"endpoint_url": "https://"}}, "endpoint_url must begin with https://"),
        ({"extra": {"service_config": {"s3": {"endpoint_url": "minio"}}}}, "endpoint_url must begin"),
        ({"extra": {"service_config": "s3"}}, "service_config must be an object"),
        ({"extra": {"service_config": {"s3": "minio"}}}, "service_config must be an object"),
        ({"host": "https://minio.example.com"}, "host 'minio.example.com' is ignored by Airflow"),
        (
            {"host": "a.example", "extra": {"endpoint_url": "https://b.example"}},
            "host 'a.example' is ignored",
        ),
        (
            {
                "extra": {
                    "region_name": "us-east-1",
                    "endpoint_url": "https://s3.eu-west-1.amazonaws.com",
                }
            },
            "region_name 'us-east-1' differs",
        ),
        (
            {
                "extra": {
                    "region_name": "oss-cn-hangzhou",
                    "endpoint_url": "https://s3.oss-cn-shanghai-internal.aliyuncs.com",
                }
            },
            "region_name 'oss-cn-hangzhou' differs",
        ),
        ({"extra": {"verify": "/no/such/ca.pem"}}, "verify names a CA file that is not there"),
    ],
)
def test_contradicting_settings_of_a_connection_are_named(open_s3, fields, named):
    with pytest.raises(NxCloudInputError, match=f"^{named}.*storage connection 'stores_"):
        open_s3(**fields)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_missing_ca_file_of_the_environment_is_named(variable, open_s3, monkeypatch):
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)  # it comes before the other
    monkeypatch.setenv(variable, "/no/such/ca.pem")
    with pytest.raises(NxCloudInputError, match=f"^{variable} names a CA file"):
        open_s3()
    with pytest.raises(
        NxCloudInputError, match=f"^{variable} names a CA file"
    ):  # without a storage connection
        make_storage("s3://media/in", None, None)


def test_endpoint_that_is_no_url_is_explained(open_s3):
    storage = open_s3(extra={"endpoint_url": "https://minio:port", "region_name": "us-east-1"})

    with pytest.raises(NxCloudStorageError, match="not a valid URI; check the endpoint"):
        storage.find("a")


def test_ca_file_that_is_none_is_named(open_s3, monkeypatch, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    storage = open_s3(extra={"endpoint_url": "https://127.0.0.1:1", "region_name": "us-east-1"})

    with pytest.raises(NxCloudStorageError, match="; have AWS_CA_BUNDLE"):
        storage.find("a")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"host": "s3.example", "extra": {"endpoint_url": "https://s3.example:9000"}},
        {"extra": {"region_name": "eu-west-1", "endpoint_url": "https://s3.eu-west-1.amazonaws.com"}},
        {
            "extra": {
                "region_name": "eu-west-1",
                "endpoint_url": "https://s3.dualstack.eu-west-1.amazonaws.com",
            }
        },
        {"extra": {"region_name": "us-east-1", "endpoint_url": "https://s3.amazonaws.com"}},
        {
            "extra": {
                "region_name": "cn-hangzhou",
                "endpoint_url": "https://s3.oss-cn-hangzhou-internal.aliyuncs.com",
            }
        },
        {
            "extra": {
                "region_name": "oss-cn-hangzhou",
                "endpoint_url": "https://s3.oss-cn-hangzhou.aliyuncs.com",
            }
        },
        {"extra": {"region_name": "auto", "endpoint_url": "https://id.r2.cloudflarestorage.com"}},
        {"extra": {"verify": False}},
    ],
)
def test_other_settings_are_taken(open_s3, fields):
    open_s3(**fields)


@pytest.mark.parametrize(
    ("write_kwargs", "text"),
    [
        (
            {"ServerSideEncrypton": "aws:kms"},
            'Unknown parameter in input: "ServerSideEncrypton", must be one of: .*ServerSideEncryption,',
        ),
        ({"acl": "private"}, 'Unknown parameter in input: "acl", must be one of: ACL, '),
        ({"Key": "x"}, "Key is different for each media file$"),
        ({"ContentMD5": "x"}, "ContentMD5 is different for each media file$"),
        ({"Metadata": {"count": 3}}, "Invalid type for parameter Metadata.count, value: 3, .* types: .*str"),
        (
            {"Metadata": {"origin": "日本"}},
            'Non ascii characters found in S3 metadata for key "origin", value: "日本". '
            "S3 metadata can only contain ASCII characters.$",
        ),
    ],
)
def test_write_kwargs_that_s3_does_not_know_are_named(open_s3, write_kwargs, text):
    with pytest.raises(NxCloudInputError, match=f"^write_kwargs: {text}"):
        open_s3(write_kwargs)


def answered(code: str, message: str, operation: str = "PutObject") -> Exception:
    """What s3fs raises when S3 answers that."""
    return translate_boto_error(ClientError({"Error": {"Code": code, "Message": message}}, operation))


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            answered(
                "SecondLevelDomainForbidden", "The bucket you are attempting to access must be addressed"
            ),
            "addressing_style",
        ),
        (
            answered("InvalidArgument", "aws-chunked encoding is not supported with the specified value."),
            "request_checksum_calculation",
        ),
        (
            answered("NotImplemented", "A header you provided implies functionality that is not implemented"),
            "request_checksum_calculation",
        ),
        (
            answered(
                "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-1'"
            ),
            "set region_name",
        ),
        (answered("PermanentRedirect", "must be addressed using the specified endpoint."), "endpoint_url"),
        (
            answered("NoSuchBucket", "The specified bucket does not exist"),
            "create it.*buckets are never created",
        ),
        (
            ParamValidationError(report='Invalid bucket name "$B": Bucket'),
            "fix the bucket in the destination",
        ),
        (answered("ExpiredToken", "The provided token has expired."), "renew the temporary credentials"),
        (
            answered("RequestTimeTooSkewed", "The difference between the request time and the current time"),
            "clock",
        ),
        (answered("InvalidAccessKeyId", "The Access Key Id does not exist"), "login and password"),
        (answered("BadDigest", "The Content-MD5 you specified did not match"), "damaged on the way"),
        (
            answered("InvalidArgument", "Unsupported header 'x-amz-sdk-checksum-algorithm' received"),
            "request_checksum_calculation",
        ),
        (answered("Unauthorized", "Unauthorized"), "login and password.*request_checksum_calculation"),
        (RuntimeError("Could not connect to the endpoint URL"), "check the endpoint"),
    ],
)
def test_error_names_the_cause_then_the_setting_then_the_place(error, remedy):
    raised = storage_error("write", "s3://store@media/a", error)
    text = str(raised)

    cause, _, rest = text.partition(";")
    code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
    assert cause.startswith(code or type(error).__name__)
    assert re.search(remedy, rest)
    assert text.endswith(" (cannot write 's3://store@media/a')")
    may_pass = re.search("temporary|clock|damaged|check the endpoint", remedy)
    assert isinstance(raised, AirflowFailException) == (may_pass is None)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError("https://storage.googleapis.com/upload/storage/v1/b/none/o?uploadType=x"),  # Google
        RuntimeError("The specified container does not exist. ErrorCode:ContainerNotFound"),  # Azure
        answered("NoSuchBucket", "", "CreateMultipartUpload"),
        answered("AccessDenied", "Access Denied"),
        answered("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
    ],
)
def test_error_that_no_retry_fixes_fails_the_task(error):
    assert isinstance(storage_error("write", "x", error), NxCloudStorageRefusedError)


@pytest.mark.parametrize(
    "error",
    [
        answered("SlowDown", "Please reduce your request rate."),
        answered("InternalError", "We encountered an internal error."),
        OSError(28, "No space left on device"),
        PermissionError(13, "Permission denied"),
        RuntimeError("AuthenticationFailed: Signature not valid in the specified time frame"),
    ],
)
def test_error_that_a_retry_may_fix_is_retried(error):
    assert type(storage_error("write", "x", error)) is NxCloudStorageError


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(28, "No space left on device"), "free space there"),
        (
            PermissionError(13, "Permission denied"),
            "give the user that runs Airflow's workers the right to write there",
        ),
    ],
)
def test_error_of_a_disk_says_what_to_do(error, remedy):
    assert storage_error("use", "file:///x/", error).remedy == remedy


def test_error_keeps_no_secret_of_a_url():
    error = RuntimeError("PUT https://key:secret@store.example/a?sig=abc%3D&se=1 failed")

    text = str(storage_error("write", "abfs://c/a", error))

    assert "secret" not in text
    assert "abc" not in text
    assert text.startswith("RuntimeError: PUT https://...store.example/a?... failed (")


def test_error_without_a_text_says_that_of_its_cause():
    error = OSError()
    error.__cause__ = ValueError("what really happened")
    assert str(storage_error("write", "x", error)).startswith("ValueError: what really happened (")
    assert str(storage_error("write", "x", OSError())).startswith("OSError: the store gives no reason (")


class AnsweringServer(S3StandIn):
    """Answers every request alike."""

    status, body = 200, b""

    def answer(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        return self.status, {}, self.body


@pytest.fixture
def answering(open_s3):
    """A server in place of S3, and a destination on it."""
    with AnsweringServer().opened_by(open_s3) as server:
        yield server


def publish(storage, size):
    staged = storage.stage()
    staged.write(bytes(size))
    storage.publish("a", staged)


ACTIONS = {
    "look for": lambda storage: storage.find("a"),
    "write": lambda storage: publish(storage, 7),
    "write in parts": lambda storage: publish(storage, BLOCK_SIZE + 1),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (400, "AuthorizationHeaderMalformed", "region_name"),
        (400, "IllegalLocationConstraintException", "endpoint_url"),
        (400, "ExpiredToken", "renew"),
        (403, "RequestTimeTooSkewed", "clock"),
        (403, "InvalidAccessKeyId", "login"),
        (403, "AccessDenied", "rights"),
    ],
)
def test_refusal_is_explained_in_the_words_of_the_store(status, code, remedy, action, answering):
    answering.status = status
    answering.body = f"<Error><Code>{code}</Code><Message>Why not.</Message></Error>".encode()
    place = action.removesuffix(" in parts")

    with pytest.raises(NxCloudStorageError, match=f"^{code}: Why not; .*{remedy}.* \\(cannot {place} "):
        ACTIONS[action](answering.storage)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("status", "text"),
    [
        (301, "^PermanentRedirect: the store redirects every request; set region_name and endpoint_url"),
        (302, "^PermanentRedirect: the store redirects every request; set region_name and endpoint_url"),
        (403, "^HTTP 403: Forbidden; .*s3:ListBucket"),
        (407, "^HTTP 407: Proxy Authentication Required"),
    ],
)
def test_refusal_without_words_is_explained_by_its_status(status, text, action, answering):
    answering.status = status

    with pytest.raises(NxCloudStorageError, match=text):
        ACTIONS[action](answering.storage)


@pytest.mark.parametrize("action", ACTIONS)
def test_login_page_in_place_of_the_store_is_no_success(action, answering):
    answering.body = b"<html>please log in</html>"

    with pytest.raises(NxCloudStorageError, match="; what answers is not the store"):
        ACTIONS[action](answering.storage)


def test_large_upload_ends_when_the_task_is_cancelled(answering):
    stop = threading.Event()
    stop.set()
    staged = answering.storage.stage()
    staged.write(bytes(2 * BLOCK_SIZE))

    with pytest.raises(NxCloudCancelledError):
        answering.storage.publish("video.mp4", staged, "video/mp4", stop)


def test_mime_type_too_long_for_a_header_is_left_out(answering):
    known = "application/pdf; name=a"
    assert answering.storage._options(known, "0" * 64)["ContentType"] == known
    assert "ContentType" not in answering.storage._options(f"{known * 9000}", "0" * 64)
    assert "ContentType" not in answering.storage._options(f"{known}{'a' * 9000}", "0" * 64)
