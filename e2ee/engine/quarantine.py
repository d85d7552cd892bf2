"""A bug of ours costs one message, never the account (messaging section 7)."""

from __future__ import annotations

import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2ee.errors import E2eeError
from e2ee.events import DeliveryQuarantined
from e2ee.ids import UserId
from store import Full, InvalidUse, StaleWriter, StoreError, TooLarge

from .receiving import open_delivery
from .step import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.frames import Delivery

    from .step import Step

__all__ = ["take_one_by_one", "uses_up_an_attempt"]

ATTEMPTS_MAX: Final = 3  # on one envelope; then it is put aside
# Of the store's errors, those that one envelope can cause; the others say something of the store itself.
_OURS: Final = (Full, InvalidUse, StaleWriter, TooLarge)


def uses_up_an_attempt(error: Exception) -> bool:
    """Whether an error is a fault in dealing with an envelope, rather than the store's or the client's end."""
    return isinstance(error, _OURS) or not isinstance(error, StoreError | E2eeError)


def take_one_by_one(run: Callable[..., Output], deliveries: list[Delivery]) -> Output:
    """Deal with each delivery in a unit of its own; one on which our code fails three times is put aside."""
    total = Output()
    for delivery in deliveries:
        done = _take(run, delivery)
        total = replace(total, events=(*total.events, *done.events), durable=total.durable + done.durable)
    return total


def _take(run: Callable[..., Output], delivery: Delivery) -> Output:
    sender, device, envelope_id = delivery.sender_user_id, delivery.sender_device_id, delivery.envelope_id
    cause = "it ended the process before"
    attempts = 0

    def count(step: Step) -> None:
        nonlocal attempts
        attempts = step.unit.delivery_attempts.count(sender, device, envelope_id)

    def open_it(step: Step) -> None:
        open_delivery(step, delivery)
        _done(step, delivery)

    def put_aside(step: Step) -> None:
        step.unit.quarantine.add(sender, device, envelope_id, delivery.body, cause)
        step.tally.deliveries["quarantined"] += 1
        step.keep(DeliveryQuarantined(sender=UserId(sender), sender_device=device, cause=cause))
        _done(step, delivery)

    while True:
        run(count, pumps=False)  # committed before the attempt: what ends the process is counted too
        if attempts > ATTEMPTS_MAX:
            return run(put_aside, pumps=False)
        try:
            return run(open_it, pumps=False)
        except Exception as error:
            if not uses_up_an_attempt(error):
                raise
            cause = _redacted(error)


def _done(step: Step, delivery: Delivery) -> None:
    step.unit.delivery_attempts.forget(delivery.sender_user_id, delivery.sender_device_id, delivery.envelope_id)
    step.unit.counters.delivery_number = max(step.unit.counters.delivery_number, delivery.number)


def _redacted(error: Exception) -> str:
    """What the error is and where it was raised: no text of it, which could hold contents."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
