"""The connection form of Airflow 2, one page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from playwright.sync_api import Locator, Page
from shown import STANDARD, Shown

_EXTRA = "extra__nxcloud__"


class ConnectionForm:
    """
    What a user does with connections.

    :param page: a page of a browser.
    :param url: the address of the web server.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url
        self.dialog = page.locator("form#model_form")

    def connection_types(self) -> list[str]:
        """Return every type the list offers, by the name it has there."""
        self.page.goto(f"{self._url}/connection/add")
        return [text.strip() for text in self.page.locator("#conn_type option").all_inner_texts()]

    def new(self, conn_id: str) -> None:
        self.page.goto(f"{self._url}/connection/add")
        self.page.locator("#conn_id").fill(conn_id)
        # Select2 covers the list itself.
        self.page.locator("#conn_type").select_option(label="NXCloud", force=True)

    def edit(self, conn_id: str) -> None:
        self.page.goto(f"{self._url}/connection/list/")
        row = self.page.get_by_role("row").filter(has=self.page.get_by_text(conn_id, exact=True))
        row.locator("a[href*='/connection/edit/']").click()
        self.page.wait_for_url("**/connection/edit/*")

    def shown(self) -> dict[str, Shown]:
        """Return the standard fields and those of the extra, in their order."""
        extra = [
            element.get_attribute("id").removeprefix(_EXTRA)
            for element in self.dialog.locator(f"[id^={_EXTRA}]").all()
        ]
        return {
            name: self._shown(self._input(name))
            for name in (*STANDARD, *extra)
            if self._input(name).is_visible()
        }

    def value(self, name: str) -> str:
        return self._input(name).input_value()

    def fill(self, **values: str) -> None:
        for name, value in values.items():
            self._input(name).fill(value)

    def save(self) -> None:
        self.dialog.locator("button[type=submit]").click()
        # What it refuses it shows again.
        self.page.wait_for_url(lambda url: "/add" not in url and "/edit/" not in url)

    def test(self, conn_id: str, connection: Mapping[str, Any]) -> str:
        """Return what the Test button says of a connection that is not stored yet."""
        self.new(conn_id)
        fields = {name: connection[name] for name in STANDARD if connection.get(name)}
        extra = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in connection["extra"].items()
        }
        self.fill(**fields, **extra)
        return self._press_test()

    def test_stored(self, conn_id: str, **typed: str) -> str:
        self.edit(conn_id)
        self.fill(**typed)
        return self._press_test()

    def _press_test(self) -> str:
        with self.page.expect_response("**/api/v1/connections/test"):
            self.page.locator("#test-connection").click()
        alert = self.page.locator(".alert-success, .alert-error")
        alert.wait_for()
        return alert.inner_text()

    def _input(self, name: str) -> Locator:
        return self.page.locator(f"#{name if name in STANDARD else _EXTRA + name}")

    def _shown(self, element: Locator) -> Shown:
        row = element.locator("xpath=ancestor::tr[1]")
        label = (row.locator("label").text_content() or "").strip()
        help_text = row.locator(".help-block")
        return Shown(
            label.removesuffix("*").strip(),
            (help_text.text_content() or "").strip() if help_text.count() else "",
            element.get_attribute("placeholder") or "",
            label.endswith("*") or element.get_attribute("required") is not None,
        )
