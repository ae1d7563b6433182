"""Which parts of ``media_ids`` are templates: what an author writes, never what a customer sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

#: How a text begins that an author writes as a template; in others a marker belongs to somebody's data.
_TEMPLATE = re.compile(r"\s*[\[(]?\s*[^\s,;\"'`()\[\]{}<>]*\{[{%#]")


class MediaIdsTemplate:
    """
    Render ``media_ids`` of an operator or sensor, but no text inside its mappings.

    A mapping carries what customers send (file names, captions), and Airflow renders every text that it finds in
    a templated field, also in a list of mappings, in ``expand_kwargs`` and in JSON given as text. Airflow's own
    exceptions do not reach that far: ``literal()`` has to be written at each use, and values of an ``XComArg``
    are left alone only where the whole field is one. ``render_template`` is the public method that Airflow 2.11
    and every 3.x call on the operator itself for each field, mapped or not, so it is overridden here.

    - What ``expand`` or ``expand_kwargs`` takes from a task's result is data, text and lists too.
    - Other text is a template, unless it is JSON or a Python literal, which is read first, or begins like one.
    - A list's texts are templates, the mappings in it are data; only an ``XComArg`` in them is resolved.
    """

    media_ids: Any
    dag: Any
    task_id: str
    has_dag: Callable[[], bool]

    def render_template(
        self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render one templated field, as the base class does, or :attr:`media_ids` as described above."""

        def render(value: Any) -> Any:
            return super(MediaIdsTemplate, self).render_template(  # type: ignore[misc]
                value, context, jinja_env, seen_oids
            )

        def render_text(text: str) -> Any:
            # Native rendering makes numbers of digits; what stands in a text stays text.
            return render(f"_{text}")[1:]

        if content is not self.media_ids:
            return render(content)
        if self._is_result_of_a_task(content, context):
            return content
        is_text = isinstance(content, str)
        if is_text:
            from airflow_provider_nxcloud.media import parse_literal

            content = parse_literal(content)
        if isinstance(content, str):
            return render(content) if _TEMPLATE.match(content) else content
        if id(content) in (seen_oids or ()):  # what Airflow itself leaves alone
            return content
        if isinstance(content, list | tuple):
            of_text = render_text if is_text else render
            return [of_text(each) if isinstance(each, str) else _as_data(each, render) for each in content]
        return _as_data(content, render)

    def _is_result_of_a_task(self, content: Any, context: Any) -> bool:
        """Tell whether Airflow has mapped this task over what another one returned for ``media_ids``."""
        mapped = self.dag.task_dict.get(self.task_id) if self.has_dag() else None
        expanded = getattr(mapped, "expand_input", None)
        if mapped is None or expanded is None or content is mapped.partial_kwargs.get("media_ids"):
            return False
        value = expanded.value
        if isinstance(value, Mapping):  # of expand
            value = value.get("media_ids")
        elif isinstance(value, list | tuple):  # of expand_kwargs, as written in the DAG
            value = value[context["ti"].map_index]
        return hasattr(value, "resolve")


def _as_data(value: Any, render: Callable[[Any], Any]) -> Any:
    """Resolve each ``XComArg`` in a value, and render nothing."""
    if isinstance(value, Mapping):
        return {key: _as_data(each, render) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_data(each, render) for each in value]
    return render(value) if hasattr(value, "resolve") else value
