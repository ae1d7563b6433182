"""The connection form of Airflow 3, a dialog whose sections open one at a time, or from 3.4 on are all open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Locator, Page
from shown import STANDARD, Shown


class ConnectionForm:
    """
    What a user does with connections.

    :param page: a page of a browser.
    :param url: the address of the API server.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url
        self.dialog = page.get_by_role("dialog")

    def connection_types(self) -> list[str]:
        """Return every type the list offers, by the name it has there."""
        self._open("Add Connection")
        self._type.click()
        return self.page.get_by_role("option").all_inner_texts()

    def new(self, conn_id: str) -> None:
        self._open("Add Connection")
        self.dialog.locator("[name=connection_id]").fill(conn_id)
        self._type.fill("NXCloud")
        self.page.get_by_role("option", name="NXCloud", exact=True).click()
        self._extra.wait_for()

    def edit(self, conn_id: str) -> None:
        self._open()
        self._row(conn_id).get_by_role("button", name="Edit Connection").click()
        self._extra.wait_for()

    def shown(self) -> dict[str, Shown]:
        """Return the standard fields and those of the extra, in their order."""
        names = [*STANDARD, *self._extra_names()]
        return {name: self._shown(self._input(name)) for name in names if self._input(name).count()}

    def value(self, name: str) -> str:
        if name == "proxies":
            with self._opened(name) as editor:
                return "".join(editor.locator(".view-line").all_inner_texts()).replace("\xa0", " ")
        return self._input(name).input_value()

    def fill(self, **values: str) -> None:
        for name, value in values.items():
            with self._opened(name) as element:
                if name == "proxies":  # an editor, which would close brackets that are typed
                    element.locator(".monaco-editor").click()
                    self.page.keyboard.press("Control+A")
                    self.page.keyboard.press("Delete")
                    self.page.keyboard.insert_text(value)
                else:
                    element.fill(value)
                self.dialog.get_by_role("heading").first.click()  # a field counts when it is left

    def save(self) -> None:
        self.dialog.get_by_role("button", name="Save").click()
        self.dialog.wait_for(state="detached")

    def open_section(self, name: str) -> None:
        section = self._section(name)
        if section.count() and section.get_attribute("aria-expanded") == "false":
            section.click()

    def test(self, conn_id: str, connection: Mapping[str, Any]) -> str:
        """Return what the Test button says of a connection; Airflow 3 has it for stored ones only."""
        token = self.page.request.get(f"{self._url}/auth/token").json()["access_token"]
        # Port 0, because that is what the button sends for a connection without one.
        body = {"connection_id": conn_id, "port": 0, **connection, "extra": json.dumps(connection["extra"])}
        answer = self.page.request.post(
            f"{self._url}/api/v2/connections", data=body, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.ok, answer.text()
        return self.test_stored(conn_id)

    def test_stored(self, conn_id: str) -> str:
        self._open()
        self._row(conn_id).get_by_role("button", name="Test Connection").click()
        toast = self.page.locator("[data-scope=toast][data-part=root]")
        toast.wait_for()
        return toast.inner_text()

    @property
    def _type(self) -> Locator:
        return self.dialog.get_by_role("combobox").first

    @property
    def _extra(self) -> Locator:
        return self._section("Extra Fields").or_(self.dialog.get_by_role("heading", name="NXCloud Fields"))

    def _open(self, button: str = "") -> None:
        self.page.goto(f"{self._url}/connections")
        if button:
            self.page.get_by_role("button", name=button).click()

    def _row(self, conn_id: str) -> Locator:
        return self.page.get_by_role("row").filter(has=self.page.get_by_text(conn_id, exact=True))

    def _section(self, name: str) -> Locator:
        return self.dialog.get_by_role("button", name=name, exact=True)

    @contextmanager
    def _opened(self, name: str):
        self.open_section("Standard Fields" if name in STANDARD else "Extra Fields")
        element = self._input(name)
        element.wait_for()
        yield element

    def _input(self, name: str) -> Locator:
        if name in STANDARD:
            return self.dialog.locator(f"[name={name}]")
        return self.dialog.locator(f"[name=element_{name}]").or_(self.dialog.locator(f"div#element_{name}"))

    def _extra_names(self) -> list[str]:
        elements = self.dialog.locator("[name^=element_], div[id^=element_]").all()
        return [
            (element.get_attribute("name") or element.get_attribute("id") or "").removeprefix("element_")
            for element in elements
        ]

    def _shown(self, element: Locator) -> Shown:
        field = element.locator("xpath=ancestor::*[@data-scope='field'][@data-part='root'][1]")
        label = field.locator("[data-part=label]")
        help_text = field.locator("[data-part=helper-text]")
        return Shown(
            (label.text_content() or "").strip(),
            help_text.text_content() or "" if help_text.count() else "",
            element.get_attribute("placeholder") or "",
            label.get_attribute("data-required") is not None,
        )
