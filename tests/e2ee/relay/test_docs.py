"""docs/relay.md keeps to the options there are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from e2ee.relay import RelayHooks, RelayOptions
from e2ee.relay.metrics import exposition
from e2ee.relay.statistics import Statistics

PAGE = (Path(__file__).parents[3] / "docs" / "relay.md").read_text("utf-8")


def test_every_option_and_hook_that_the_page_names_is_there() -> None:
    known = {field.name for kind in (RelayOptions, RelayHooks) for field in fields(kind)}
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| [\d]", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"\w+", row)}
    assert len(named) > 10
    assert named - known == set()
    assert {"authorize", "may_send", "on_raw", "on_inbound", "on_outbound"} <= known


def test_every_metric_that_the_page_names_is_exposed() -> None:
    text, _content_type = exposition(Statistics())
    named = set(re.findall(r"e2ee_relay_\w+", PAGE)) - {"e2ee_relay"}
    exposed = set(re.findall(r"# TYPE (\w+)", text))
    assert {re.sub(r"_total$", "", name) for name in named} <= {re.sub(r"_total$", "", name) for name in exposed}
