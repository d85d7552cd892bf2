"""The pages are true where a test can tell: links, named files, limits, events; and every public name has its help."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import pytest

import e2ee
import e2ee.events
import ratchet
from e2ee import DurableEvent, RelayOptions
from e2ee import limits as wire
from store import limits as kept
from store.relay import limits as mailbox
from tests.support.readme import ROOT

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "vectors/README.md"])
NOT_OURS = ("conformance.md", "signal-protocol.md")  # they name files of other projects
THREATS = (ROOT / "docs/threats.md").read_text("utf-8")
KINDS = {"DurableEvent", "GroupEvent"}  # what events have in common
MEBIBYTE = 1024 * 1024


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    assert [one for one in targets if "://" not in one and not (page.parent / one).exists()] == []


@pytest.mark.parametrize("page", [one for one in PAGES if one.name not in NOT_OURS], ids=_name)
def test_every_python_file_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"`((?:tests|e2ee|store|ratchet|vectors|docs)/[\w./]+\.py|test_\w+\.py)`", page.read_text("utf-8")
    )
    missing = [one for one in named if not ((ROOT / one).exists() if "/" in one else list((ROOT / "tests").rglob(one)))]
    assert missing == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=_name)
def test_every_page_says_first_for_whom_it_is(page: Path) -> None:
    assert page.read_text("utf-8").splitlines()[2].startswith("For ")


def test_every_promise_about_an_attack_names_its_test() -> None:
    tables = re.findall(r"^\| [^\n]*\| (?:shown by|shown in) \|\n\|[-|]+\|\n((?:\|.*\n)+)", THREATS, re.MULTILINE)
    rows = [line.rstrip(" |").rpartition(" | ")[2] for table in tables for line in table.splitlines()]
    assert len(rows) > 40
    assert [one for one in rows if "test" not in one and not one.startswith("the same")] == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text("utf-8"))
    assert listed == sorted(page.name for page in folder.glob("0*.md"))


def test_the_page_of_events_has_each_with_its_fields_under_its_kind() -> None:
    page = (ROOT / "docs/events.md").read_text("utf-8")
    durable, live = page.partition("\n## Live\n")[::2]
    for part, is_durable in ((durable, True), (live, False)):
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", part, flags=re.MULTILINE))
        events = {
            name: one
            for name, one in vars(e2ee.events).items()
            if name in e2ee.events.__all__
            and hasattr(one, "__dataclass_fields__")
            and name not in KINDS
            and issubclass(one, DurableEvent) is is_durable
        }
        assert set(rows) == set(events)
        for name, event in events.items():
            fields = set(event.__dataclass_fields__) - {"number", "redelivered"}
            assert set(re.findall(r"`(\w+)`", rows[name])) == fields, name


def test_the_limits_in_the_readme_are_those_of_the_code() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for line in (
        f"| a message | {wire.CONTENT_SIZE_MAX // 1024} KiB of text or bytes |",
        f"| a user | {wire.DEVICES_PER_USER_MAX} devices |",
        f"| a group | {wire.GROUP_MEMBERS_MAX:,} members, {wire.GROUP_LOG_MAX:,} changes |",
        f"| a mailbox | {mailbox.MAILBOX_COUNT_MAX:,} envelopes, {mailbox.MAILBOX_SIZE_MAX // MEBIBYTE} MiB, 30 days;",
        f"| an outbox, an inbox | {kept.OUTGOING_MAX:,} messages, {kept.OUTGOING_SIZE_MAX // MEBIBYTE} MiB each |",
        f"| asked for again | for 14 days, the last {kept.SEND_LOG_MAX:,} messages |",
    ):
        assert line in text
    assert (kept.INBOX_MAX, kept.INBOX_SIZE_MAX) == (kept.OUTGOING_MAX, kept.OUTGOING_SIZE_MAX)


def test_the_limits_in_the_page_of_recovery_are_those_of_the_code() -> None:
    text = (ROOT / "docs/recovery.md").read_text("utf-8")
    pending = f"{kept.PENDING_PER_DEVICE_MAX} envelopes of a device, {kept.PENDING_MAX:,} or"
    assert f"{pending} {kept.PENDING_SIZE_MAX // MEBIBYTE} MiB in all are kept for 14 days" in text
    assert f"{kept.SEND_LOG_MAX:,} of them or {kept.SEND_LOG_SIZE_MAX // MEBIBYTE} MiB" in text


def test_the_defaults_in_the_page_of_the_relay_are_those_of_its_options() -> None:
    rows = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \| (\d[^|]*) \|", (ROOT / "docs/relay.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) > 10
    told: dict[str, float] = {}
    for names, values in rows:
        numbers = [
            float(number.replace(",", "")) * (MEBIBYTE if unit else 1)
            for number, unit in re.findall(r"(\d+(?:,\d{3})*)( MiB)?", values)
        ]
        told |= dict(zip(re.findall(r"\w+", names), numbers, strict=True))
    assert told == {name: getattr(RelayOptions(), name) for name in told}


@pytest.mark.parametrize("package", [e2ee, ratchet], ids=["e2ee", "ratchet"])
def test_every_public_name_says_what_it_is(package: ModuleType) -> None:
    silent = []
    for name in package.__all__:
        value = getattr(package, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        own = (value.__doc__ or "").strip()
        if not own or own.startswith(f"{name}("):  # what `dataclass` writes by itself
            silent.append(name)
        if inspect.isclass(value):
            silent += [
                f"{name}.{member}"
                for member, what in vars(value).items()
                if not member.startswith("_")
                and (inspect.isfunction(what) or isinstance(what, classmethod | staticmethod | property))
                and not inspect.getdoc(getattr(value, member))
            ]
    assert silent == []
