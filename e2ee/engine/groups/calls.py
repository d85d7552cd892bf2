"""The steps of groups that an application asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2ee.errors import GroupRefused, InvalidArgument, NotAMember, RefusalCode, UnknownGroup
from e2ee.groups import Group, GroupKind, Operation, Role
from e2ee.ids import parse_user_id
from e2ee.limits import GROUP_NAME_SIZE_MAX

from . import forks
from .operations import begin
from .state import ID_DIGITS, group_view, require_group, resolve
from .wish import GroupWish

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2ee.engine.step import Output, Step

__all__ = ["GroupCalls"]


class GroupCalls:
    """What `Engine.groups` offers; as synchronous as the engine itself, each call one unit of work.

    The operations return an id under which their outcome comes in an `Output`, unless `abandon` comes before it. They
    raise GroupError, InvalidArgument and InvalidUserId for what is wrong already now.
    """

    def __init__(self, run: Callable[..., Output], callers: set[bytes]) -> None:
        self._run = run
        self._callers = callers

    def create(self, name: str, kind: GroupKind) -> tuple[bytes, Output]:
        """Make a group."""
        wish = GroupWish(operation=Operation.CREATE, name=_checked_name(name), kind=GroupKind(kind))
        return self._begin(lambda _step: wish)

    def join(self, group: str | Group) -> tuple[bytes, Output]:
        """Join an open group, or accept an invitation."""

        def wish(step: Step) -> GroupWish:
            group_id = resolve(step, group)
            if group_id is not None or isinstance(group, Group):
                return GroupWish(operation=Operation.JOIN, group_id=group_id)
            return GroupWish(operation=Operation.JOIN, name=_checked_name(group))

        return self._begin(wish)

    def act(
        self, group: str | Group, operation: Operation, *, user: str | None = None, role: Role = Role.MEMBER
    ) -> tuple[bytes, Output]:
        """Do something in a group that is known here, with or to *user*."""
        subject = None if user is None else parse_user_id(user)

        def wish(step: Step) -> GroupWish:
            now = require_group(step, group)
            invited = step.user_id in now.invited and operation in (Operation.ACCEPT, Operation.LEAVE)
            if not invited and not now.is_member(step.user_id, step.account.identity.public_key):
                raise NotAMember("we are no member of the group under our present identity key")
            if now.deleted:
                raise GroupRefused(RefusalCode.ENTRY_REFUSED, "the group is deleted")
            return GroupWish(operation=operation, group_id=now.group_id, subject=subject, role=role)

        return self._begin(wish)

    def abandon(self, operation_id: bytes) -> None:
        """Nobody waits for the outcome any more: it comes as an event."""
        self._callers.discard(operation_id)

    def group(self, group: str | Group) -> Group:
        """The group as it stands. Raises UnknownGroup."""
        found: list[Group] = []

        def work(step: Step) -> None:
            group_id = require_group(step, group).group_id
            loaded = step.groups.get(group_id)
            if loaded is not None:
                found.append(group_view(step, loaded))

        self._run(work, pumps=False)
        return found[0]

    def all(self) -> list[Group]:
        """The groups that we are a member of or invited to, in order of their names."""
        found: list[Group] = []

        def work(step: Step) -> None:
            views = [group_view(step, one) for one in step.groups.all() if not one.fetching]
            found.extend(one for one in views if one.is_member or one.is_invited)

        self._run(work, pumps=False)
        return sorted(found, key=lambda one: (one.name, one.id))

    def accept_fork(self, group: str | Group) -> Output:
        """Let the log that the relay tells take the place of ours, where they differ. Raises UnknownGroup."""

        def work(step: Step) -> None:
            group_id = resolve(step, group)
            loaded = None if group_id is None else step.groups.get(group_id)
            if loaded is None:
                raise UnknownGroup("no group is known here under this id or name")
            forks.accept(step, loaded)

        return self._run(work)

    def _begin(self, wish: Callable[[Step], GroupWish]) -> tuple[bytes, Output]:
        made: list[bytes] = []

        def work(step: Step) -> None:
            operation_id = begin(step, wish(step))
            self._callers.add(operation_id)
            made.append(operation_id)

        try:
            output = self._run(work)
        except BaseException:
            self._callers.difference_update(made)
            raise
        return made[-1], output


def _checked_name(name: str) -> str:
    """Return *name* if a group can have it. Raises InvalidArgument."""
    try:
        size = len(name.encode())
    except (AttributeError, UnicodeEncodeError) as cause:
        raise InvalidArgument("a group's name is text that has a UTF-8 form") from cause
    if not 1 <= size <= GROUP_NAME_SIZE_MAX:
        raise InvalidArgument(f"a group's name has 1 to {GROUP_NAME_SIZE_MAX} bytes of UTF-8")
    if ID_DIGITS.fullmatch(name):
        raise InvalidArgument("a name that looks like a group's id would be taken for one")
    return name
