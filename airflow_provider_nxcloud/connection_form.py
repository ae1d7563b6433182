"""
The connection form: one table, from which each Airflow gets it the way it asks.

Airflow from 3.2 on reads the provider info and Airflow up to 3.1 asks the hook.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FormField:
    """
    One field of the connection's extra.

    :param name: its key in the extra.
    :param label: what the form calls it.
    :param help: what the form says below it.
    :param schema: JSON schema of a value that is set.
    """

    name: str
    label: str
    help: str
    schema: dict[str, Any]


# No field is required and none has a default, so that saving an untouched form changes nothing.
FIELDS = (
    FormField(
        "business_phone",
        "Business phone",
        "Default merchant number, with country code: 8613800000000. A task may name another one.",
        {"type": "string"},
    ),
    FormField(
        "timeout",
        "Timeout",
        "Seconds to wait for a connection and for each read. Empty: 30.",
        {"type": "number", "exclusiveMinimum": 0, "maximum": 3600},
    ),
    FormField(
        "max_attempts",
        "Attempts",
        "How often one call is tried in all. Empty: 5.",
        {"type": "integer", "minimum": 1, "maximum": 100},
    ),
    # Text, because it is a switch and a path in one, and because an untouched switch would be saved.
    FormField(
        "verify",
        "Verify TLS",
        "true, false, or the path of a CA file or directory on the workers. Empty: true.",
        {"type": "string", "examples": ["true", "false"]},
    ),
    FormField(
        "proxies",
        "Proxies",
        'JSON object of proxy URLs: {"https": "http://proxy.example.com:3128"}. '
        "Empty: the proxy variables of the worker's environment.",
        {"type": "object"},
    ),
    FormField(
        "allowed_media_hosts",
        "Allowed media hosts",
        "Globs such as *.aliyuncs.com of the hosts that media may be downloaded from: one per line, or, "
        "where there is a single line, with commas. Empty: any host but loopback and private addresses.",
        {"type": "array", "items": {"type": "string"}},
    ),
)


def conn_fields() -> dict[str, dict[str, Any]]:
    """
    Return the fields of the extra for the provider info.

    :return: ``conn-fields``. Without "null" among its types a field would be required.
    """
    return {
        field.name: {
            "label": field.label,
            "description": field.help,
            "schema": {**deepcopy(field.schema), "type": [field.schema["type"], "null"]},
        }
        for field in FIELDS
    }


def ui_field_behaviour() -> dict[str, Any]:
    """
    Return what happens to the form's standard fields, for the provider info.

    Port and scheme are hidden because they belong into the base URL; what is stored in them counts all the
    same. The extra is not: Airflow 3 shows it anyway, and where Airflow 2 hides it, the Test button of a stored
    connection is dead.

    :return: ``ui-field-behaviour``.
    """
    return {
        "hidden-fields": ["port", "schema"],
        "relabeling": {"login": "Access key", "password": "Access secret", "host": "Base URL"},
        "placeholders": {
            "login": "accessKey of your NXCloud application",
            "password": "accessSecret of your NXCloud application",
            "host": "https://api2.nxcloud.com",
        },
    }


def get_ui_field_behaviour() -> dict[str, Any]:
    """
    Return what happens to the form's standard fields, for the hook's method of that name.

    :return: the same as ``ui_field_behaviour`` with the keys that Airflow up to 3.1 expects of a hook.
    """
    return {key.replace("-", "_"): value for key, value in ui_field_behaviour().items()}


def get_connection_form_widgets() -> dict[str, Any]:
    """
    Return the fields of the extra for the hook's method of that name.

    Each is a text input, which Airflow stores only when it is filled; an empty number input would be stored
    as null.

    :return: a WTForms field per name.
    """
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from wtforms import StringField

    text_input = BS3TextFieldWidget()

    def as_text(field: Any, **attributes: Any) -> Any:
        """Show a stored list, object or number as JSON; Python's repr could not be read back."""
        if not isinstance(field.data, str | None):
            field.data = json.dumps(field.data)
        return text_input(field, **attributes)

    # Airflow takes exactly StringField, and no class derived from it; Airflow 3.1 takes only these arguments.
    return {field.name: StringField(field.label, description=field.help, widget=as_text) for field in FIELDS}
