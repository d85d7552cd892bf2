"""What a terminal is shown: nothing that it would obey, errors in one line, each event in words."""

from __future__ import annotations

import asyncio

import pytest
import typer

from e2ee import CaughtUp, DirectMessage, InvalidArgument, MessageId, RefusalCode, Refused, UserId
from e2ee.cli.output import plain, run
from e2ee.cli.words import content, line
from store import StoreInUse

ESCAPES = ["\x1b[2J", "\x07", "\r", "\u202e", "\u200b", "\ud800", "\x9b31m"]


@pytest.mark.parametrize("escape", ESCAPES, ids=[repr(one)[1:-1] for one in ESCAPES])
def test_what_a_terminal_would_obey_is_replaced(escape: str) -> None:
    shown = plain(f"before{escape}after")
    assert shown.startswith("before\ufffd")
    assert not any(character in shown for character in "\x1b\x07\r\u202e\u200b\x9b")


def test_lines_and_letters_of_every_script_stay() -> None:
    assert plain("Grüße\n你好 👋") == "Grüße\n你好 👋"


def test_bytes_are_shown_as_digits_and_not_without_end() -> None:
    assert content(None, b"\x00\xff") == "2 bytes: 00 ff"
    assert content(None, bytes(100)).endswith("00 …")
    assert content("text", b"text") == "text"


def test_a_message_has_its_sender_and_its_text_without_escapes() -> None:
    message = DirectMessage(
        sender=UserId("alice"),
        sender_device=1,
        message_id=MessageId("0" * 32),
        conversation_number=1,
        sent_at_ms=0,
        text="hi\x1b[31m",
        data=b"hi\x1b[31m",
    )
    assert line(message).endswith(" alice: hi\ufffd[31m")
    assert line(CaughtUp()) == "caught up"


async def _raise(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidArgument("a message is text"), "error: a message is text"),
        (StoreInUse("held by process 7"), "error: held by process 7"),
        (Refused(RefusalCode.NOT_AUTHORIZED), "error: the relay refused: not authorized: check the token"),
        (TimeoutError(), "error: it took too long: is the relay running"),
        (FileNotFoundError(2, "No such file", "x"), "error: No such file: x"),
    ],
    ids=["argument", "store", "refusal", "timeout", "file"],
)
def test_every_error_is_one_line_that_says_what_to_do(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        run(_raise(error))
    assert ended.value.exit_code == 1
    printed = capsys.readouterr().err
    assert printed.startswith(said)
    assert printed.count("\n") == 1


def test_a_bug_of_ours_is_not_hidden_in_one_line() -> None:
    with pytest.raises(ZeroDivisionError):
        run(_raise(ZeroDivisionError()))
