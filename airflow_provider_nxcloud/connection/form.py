"""
The connection form, for each Airflow the way it asks for it.

Airflow from 3.2 on reads the provider info and Airflow up to 3.1 asks the hook.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from airflow_provider_nxcloud.connection.fields import EXTRA_FIELDS


def conn_fields() -> dict[str, dict[str, Any]]:
    """Return the extra's fields for the provider info; one without "null" among its types would be required."""
    return {
        name: {
            "label": field.label,
            "description": field.help,
            "schema": {**deepcopy(field.schema), "type": [field.schema["type"], "null"]},
        }
        for name, field in EXTRA_FIELDS.items()
    }


def ui_field_behaviour() -> dict[str, Any]:
    """
    Return what happens to the form's standard fields, for the provider info.

    The scheme is hidden because it belongs into the base URL; what is stored in it counts all the same. So does
    the port, but Airflow 3.3.1 and 3.3.2 answer "Bad Request" to a test of any connection without one. The extra
    is shown: Airflow 3 shows it anyway, and where Airflow 2 hides it, the Test button of a stored connection is
    dead.
    """
    return {
        "hidden-fields": ["schema"],
        "relabeling": {"login": "Access key", "password": "Access secret", "host": "Base URL"},
        "placeholders": {
            "login": "accessKey of your NXCloud application",
            "password": "accessSecret of your NXCloud application",
            "host": "https://api2.nxcloud.com",
            "port": "443; needed for the Test button on Airflow 3.3.1 and 3.3.2",
        },
    }


def get_ui_field_behaviour() -> dict[str, Any]:
    """Return what happens to the form's standard fields, for the hook's method of that name."""
    return {key.replace("-", "_"): value for key, value in ui_field_behaviour().items()}


def get_connection_form_widgets() -> dict[str, Any]:
    """
    Return the fields of the extra for the hook's method of that name.

    Each is a text input, which Airflow stores only when it is filled; an empty number input would be stored
    as null.
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
    return {
        name: StringField(field.label, description=field.help, widget=as_text)
        for name, field in EXTRA_FIELDS.items()
    }
