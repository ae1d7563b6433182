"""An Airflow Connection in, checked settings out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_nxcloud.connection.base_url import build_base_url, parse_port, parse_scheme
from airflow_provider_nxcloud.connection.fields import EXTRA_FIELDS, ExtraSettings
from airflow_provider_nxcloud.exceptions import NxCloudConnectionNotFoundError, NxCloudInputError
from airflow_provider_nxcloud.text import parse_phone

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

log = logging.getLogger(__name__)

#: The provider's own type, and those to make a connection with where Airflow lacks it.
_TYPES = {"nxcloud", "generic", "http", "https"}
#: Before the names of extra fields in connections made before Airflow 2.3; Airflow 2's Test button sends them so.
_FORM_PREFIX = "extra__nxcloud__"
_PHONE_ARGUMENT, _PHONE_EXTRA = "argument business_phone", "extra of the connection"


@dataclass(frozen=True)
class ConnectionSettings(ExtraSettings):
    """What a connection says, checked and in the types the rest of the provider works with."""

    conn_id: str
    base_url: str
    access_key: str
    access_secret: str = field(repr=False)
    phone_source: str = field(default=_PHONE_EXTRA, compare=False)

    @classmethod
    def from_connection(
        cls, connection: Connection, *, business_phone: str | int | None = None
    ) -> ConnectionSettings:
        """Check a connection of whatever type; ``business_phone`` overrides its own. Safe on an event loop."""
        conn_id = str(connection.conn_id)

        def check(name: str, parse: Callable[..., Any], *values: object) -> Any:
            try:
                return parse(*values)
            except ValueError as error:
                raise NxCloudInputError(f"{name} {error}", place=f"connection {conn_id!r}") from None

        # The keys first: in a URI whose secret is not percent-encoded, the secret's rest ends up in schema,
        # which its error would show.
        access_key = check("login (access key)", _access_key, connection.login)
        access_secret = check("password (access secret)", _secret, connection.password)
        scheme = check("schema", parse_scheme, _given(connection.schema))
        port = check("port", parse_port, _given(connection.port))
        extra = check("extra", _read_extra, connection.extra)
        for name in EXTRA_FIELDS:
            old = extra.get(_FORM_PREFIX + name)
            if old is not None and extra.get(name) in (None, [], [""], "[]", {}, "{}", old):
                extra[name] = extra.pop(_FORM_PREFIX + name)
        _warn_of_what_is_odd(conn_id, connection.conn_type, extra)
        if business_phone is not None:
            extra["business_phone"] = check(_PHONE_ARGUMENT, parse_phone, business_phone)
        options = {
            name: check(f"{name} (in extra)", field.parse, extra[name])
            for name, field in EXTRA_FIELDS.items()
            if name in extra
        }
        return cls(
            conn_id=conn_id,
            base_url=check("host", build_base_url, _given(connection.host), scheme, port),
            access_key=access_key,
            access_secret=access_secret,
            **options,
            phone_source=_PHONE_EXTRA if business_phone is None else _PHONE_ARGUMENT,
        )

    def mask_secrets(self) -> None:
        """
        Have Airflow mask the access secret and the passwords in proxy URLs in its logs.

        Airflow itself masks the password of a connection that it fetches, but nothing inside a proxy URL.
        Never call it on an event loop: on Airflow 3 it waits for the supervisor.
        """
        from airflow_provider_nxcloud.compat import mask_secret

        secrets = {self.access_secret}
        for url in (self.proxies or {}).values():
            if password := urlsplit(url).password:
                secrets |= {password, unquote(password)}
        for secret in secrets:
            mask_secret(secret)


@contextmanager
def explain_missing_connection(conn_id: str) -> Iterator[None]:
    """Explain how to fix a missing connection."""
    try:
        yield
    except AirflowNotFoundException as error:
        raise NxCloudConnectionNotFoundError(
            f"connection {conn_id!r} is not defined, or is a URI that Airflow cannot read",
            remedy="create it with type NXCloud, or name another in nxcloud_conn_id",
        ) from error


def _given(value: object) -> object:
    """Return a field's value, or None when nobody filled it: forms store null or an empty text for that."""
    return None if isinstance(value, str) and not value.strip() else value


def _secret(value: object) -> str:
    if _given(value) is None:
        raise ValueError("is missing; NXCloud shows it among the settings of the application")
    if not isinstance(value, str):
        raise ValueError("must be text; put it in quotes")
    # Refused and not stripped: only its owner knows what belongs to a secret.
    if value != value.strip() or not value.isprintable():
        raise ValueError("has white space around it or an invisible character in it; enter it again")
    return value


def _access_key(value: object) -> str:
    key = _secret(value)
    if not key.isascii():  # it travels as an HTTP header
        raise ValueError("has a character outside ASCII in it; enter it again")
    return key


def _read_extra(raw: object) -> dict[str, Any]:
    """
    Return what is filled in of the extra.

    From the raw text: ``extra_dejson`` waits for Airflow 3's supervisor, which an event loop must not, and
    takes text that is no JSON for an empty extra.
    """
    raw = _given(raw)
    try:
        extra = json.loads(raw) if isinstance(raw, str) else raw or {}
    except (ValueError, RecursionError):
        extra = None
    if not isinstance(extra, dict):
        raise ValueError('must be a JSON object such as {"business_phone": "8613800000000"}')
    return {name: value for name, value in extra.items() if _given(value) is not None}


def _warn_of_what_is_odd(conn_id: str, conn_type: str | None, extra: Mapping[str, Any]) -> None:
    # URIs may carry a scheme in the type: nxcloud+http.
    if conn_type and conn_type.partition("+")[0] not in _TYPES:
        log.warning(
            "Connection %r is of type %r, not nxcloud; its login and password are used as NXCloud's access key "
            "and secret",
            conn_id,
            conn_type,
        )
    if ignored := sorted(map(repr, extra.keys() - EXTRA_FIELDS.keys())):
        log.warning(
            "Connection %r, extra: ignoring %s; known fields are %s",
            conn_id,
            ", ".join(ignored),
            ", ".join(EXTRA_FIELDS),
        )
