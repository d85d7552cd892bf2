"""What the migration of an earlier release's store could not fill in: contents are sealed, and ours to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.content import decode_content

if TYPE_CHECKING:
    from store import Unit

__all__ = ["number_outbox"]


def number_outbox(unit: Unit) -> None:
    """Note the conversation numbers of messages queued by a release that did not, so that receipts find them."""
    for message_id in unit.numbered.without():
        message = unit.outgoing.get(message_id)
        if message is not None:
            unit.numbered.set_number(message_id, decode_content(message.content).conversation_number)
