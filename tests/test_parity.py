"""docs/parity.md has every member of the product that it compares with, and the tests that it names exist."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.support.readme import ROOT

PAGE = (ROOT / "docs" / "parity.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| theirs")
]
METHODS = [
    "Subscribe",
    "UnSubscribe",
    "SendDirectMessage",
    "SendGroupMessage",
    "CreateGroup",
    "JoinGroup",
    "LeaveGroup",
    "DeleteGroup",
    "WriteData",
]
EVENTS = [
    "OnConnect",
    "OnDisconnect",
    "OnError",
    "OnException",
    "OnE2EEError",
    "OnE2EEMessageText",
    "OnE2EEMessageBinary",
    "OnE2EEMessageAck",
    "OnE2EEUserCreated",
    "OnE2EEUserDeleted",
    "OnE2EEGroupMessageText",
    "OnE2EEGroupMessageBinary",
    "OnE2EEGroupMessageAck",
    "OnE2EEGroupCreated",
    "OnE2EEGroupDeleted",
    "OnE2EEGroupJoin",
    "OnE2EEGroupLeave",
    "OnE2EEGroupMemberJoin",
    "OnE2EEGroupMemberLeave",
]
PROPERTIES = ["Client", "Broker", "Guid", "Version", "UserId", "Ack.RcvDirectMessage", "Ack.RcvGroupMessage"]
SERVER = ["OnRawMessage", "OnE2EEMessageIn", "OnE2EEMessageOut", "OnBeforeSubscription", "OnSubscription"]
SERVER += ["OnUnSubscription", "PublicKeys.ReceiveNewPublicKey", "UseMatchesMask"]


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("member", [*METHODS, *EVENTS, *PROPERTIES, *SERVER])
def test_every_member_of_the_other_product_has_a_row(member: str) -> None:
    assert any(re.search(rf"[`.]{re.escape(member)}[`. (]", row[0]) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[re.sub(r"\W+", "-", row[0])[:60] for row in ROWS])
def test_no_cell_is_empty_and_the_test_named_exists(row: list[str]) -> None:
    assert len(row) == 3
    assert all(row)
    (named,) = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[2])
    file, function = named
    assert function in functions(file)
