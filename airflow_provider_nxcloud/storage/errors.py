"""What a store or a disk says is wrong: the cause first, then the setting that fixes it, then the place."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_nxcloud.exceptions import (
    NxCloudMediaRefusedError,
    NxCloudStorageError,
    NxCloudStorageRefusedError,
)

#: What a retry may fix, if only because it asks for the credentials again; what it never fixes.
_RETRY, _FAIL = NxCloudStorageError, NxCloudStorageRefusedError
_RIGHTS = "docs/storages.md lists the rights that are needed: a look needs s3:ListBucket too"
#: Error class, pattern of the cause, remedy; the first row that matches wins.
_REMEDIES: tuple[tuple[type[NxCloudStorageError], str, str], ...] = (
    (
        _RETRY,
        "has no ETag|JSONDecodeError|ResponseParser|KeyError: '(?:UploadId|Location)'|invalid status 'OK'",
        "what answers is not the store (a proxy, a login page?): check the endpoint of the storage connection",
    ),
    (
        _FAIL,
        "SecondLevelDomainForbidden|virtual.hosted",
        'put "config_kwargs": {"s3": {"addressing_style": "virtual"}} into the extra of the storage connection',
    ),
    (
        _FAIL,
        "aws-chunked|trailer|MissingContentLength|STREAMING-|functionality that is not implemented"
        "|Unsupported header 'x-amz|XAmzContentSHA256Mismatch",
        'put "config_kwargs": {"request_checksum_calculation": "when_required", "response_checksum_validation": '
        '"when_required"} into the extra of the storage connection',
    ),
    (
        _RETRY,
        r"ExpiredToken|TokenRefreshRequired|InvalidToken|token (?:has|is) expired|time frame|RefreshError"
        "|invalid_grant",
        "renew the temporary credentials of the storage connection (aws_session_token, SAS or token)",
    ),
    (
        _RETRY,
        "RequestTimeTooSkewed|difference between the request time|RequestExpired",
        "correct the clock of this machine",
    ),
    (
        _FAIL,
        r"NoSuchBucket|bucket does not exist|ContainerNotFound|container does not exist|no such bucket"
        "|Invalid bucket name",
        "create it, or fix the bucket in the destination or endpoint_url: buckets are never created",
    ),
    (
        _FAIL,
        "AuthorizationHeaderMalformed|PermanentRedirect|IllegalLocation|specified endpoint"
        "|Moved Permanently|[Rr]egion .* is wrong|InvalidRegion",
        "set region_name and endpoint_url in the extra of the storage connection to those of the bucket",
    ),
    (
        _FAIL,
        "Unauthorized",
        "check login and password of the storage connection; Cloudflare R2 says so of checksums too: put "
        '"config_kwargs": {"request_checksum_calculation": "when_required"} into its extra',
    ),
    (
        _FAIL,
        "InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|NoCredentials"
        "|Unable to locate credentials|InvalidSecurity",
        "check login and password of the storage connection",
    ),
    (
        _FAIL,
        "WRONG_VERSION_NUMBER",
        "the endpoint of the storage connection speaks no TLS: http:// in place of https://?",
    ),
    (
        _FAIL,
        r"CERTIFICATE_VERIFY_FAILED|NO_CERTIFICATE_OR_CRL|exception: \[Errno 21?\]|SSL validation|SSLCert",
        "have AWS_CA_BUNDLE (S3) or SSL_CERT_FILE (Azure, Google) name the store's CA file",
    ),
    (
        _RETRY,
        "EndpointConnection|ConnectionClosed|Could not connect|Cannot connect|ConnectTimeout|Name or service not"
        "|Invalid endpoint|not a valid URI",
        "check the endpoint in the extra of the storage connection",
    ),
    (_FAIL, "ParamValidation|UnicodeEncodeError", "fix write_kwargs"),
    (
        _RETRY,
        "BadDigest|InvalidDigest|[Mm][Dd]5|[Cc]hecksum",
        "the bytes were damaged on the way; a retry sends them",
    ),
    (_FAIL, "AccessDenied|AuthorizationPermission", _RIGHTS),
    # Without a code of the store's, something on the way can have answered.
    (_RETRY, "Forbidden", _RIGHTS),
    (
        _RETRY,
        "^PermissionError: Permission denied",
        "give the user that runs Airflow's workers the right to write there",
    ),
    (_RETRY, "No space left|quota exceeded", "free space there"),
    (
        _FAIL,
        "Function not implemented|Operation not supported|Operation not permitted",
        "publishing needs rename; choose a destination on a file system that has it",
    ),
)
_SECRETS = re.compile(r"(?<=[\w/.-]\?)[^\s'\"<)]+|(?<=://)[^\s/]+@")


def storage_error(action: str, uri: str, error: Exception) -> NxCloudStorageError:
    """Return the error that says why something could not be done, how to fix it, and where."""
    cause = storage_cause(error)
    if isinstance(error, FileNotFoundError) and error.errno is None and "exist" not in cause:
        cause = f"the bucket does not exist: {cause}"  # gcsfs gives the URL alone
    known = ((kind, remedy) for kind, pattern, remedy in _REMEDIES if re.search(pattern, cause))
    kind, remedy = next(known, (_RETRY, ""))
    return kind(cause, remedy=remedy, place=f"cannot {action} {uri!r}")


def folder_error(uri: str) -> NxCloudMediaRefusedError:
    """Return the error of an object name that a folder has, or whose folder is a file."""
    return NxCloudMediaRefusedError(
        "this object name is a folder, or one of its parent folders is a file",
        remedy="choose another object_name or destination",
        place=repr(uri),
    )


def response_of(error: BaseException) -> Any:
    """Return what the store answered, None where it did not: s3fs keeps that in the cause of an OSError."""
    return getattr(error.__cause__, "response", None) or getattr(error, "response", None)


def storage_cause(error: BaseException) -> str:
    """Return what a store or disk says is wrong, in one line, without what a URL in it keeps secret."""
    answer = response_of(error)
    details = answer.get("Error", {}) if isinstance(answer, dict) else {}
    code, text = str(details.get("Code", "")), str(details.get("Message", ""))
    if isinstance(error, RecursionError):  # botocore's, as it asks where the bucket is
        code, text = "PermanentRedirect", "the store redirects every request"
    elif code.isdigit():
        code = f"HTTP {code}"
    elif not code:
        code, text = type(error).__name__, getattr(error, "strerror", None) or str(error)
    if not text and error.__cause__ is not None:
        return storage_cause(error.__cause__)
    # Where botocore's first line ends in a colon, the details follow on the next.
    first = text.strip().partition("\n")[0]
    text = " ".join(text.split()) if first.endswith(":") else first
    return _SECRETS.sub("...", f"{code}: {text[:300].rstrip('.') or 'the store gives no reason'}")
