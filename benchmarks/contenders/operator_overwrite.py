"""The same without a look at what is there already, which is what programs that copy do."""

from __future__ import annotations

from functools import partial

from contenders import operator_all_checks

fetch = partial(operator_all_checks.fetch, if_exists="overwrite")
