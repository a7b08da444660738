"""The mailboxes of all contacts, and what is kept in them, as one transaction sees them: read when
asked for, changed in memory, and written by `save` in a few statements."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection

from cloud import state, tables
from cloud.alerts import digest, statements
from cloud.alerts.actions import Send, Withdraw
from cloud.alerts.digest import Mailbox, Parcel

_ENCODER: Final = msgspec.json.Encoder()
_BOX: Final = msgspec.json.Decoder(Mailbox)
_SENDS: Final = msgspec.json.Decoder(list[Send])


class Box(NamedTuple):
    """Whose mailbox. An exercise has its own beside the real ones."""

    contact: str
    exercise: bool


class Mailboxes:
    """One transaction's view. What is kept lies in the database as it came, a row for what was kept
    in one transaction: to keep more is to add a row, however much there is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._boxes: dict[Box, Mailbox] = {}
        self._changed: dict[Box, None] = {}  # in order
        self._stored: dict[Box, list[Send]] = {}
        self._emptied: set[Box] = set()
        self._fresh: dict[Box, list[Send]] = {}

    def box(self, name: Box) -> Mailbox:
        if name not in self._boxes:
            self.read([name])
        return self._boxes[name]

    def keep(self, name: Box, sends: Sequence[Send], now_ms: int) -> None:
        """For later."""
        if name in self._fresh and not digest.is_urgent(sends):
            self._hold(name, sends)  # one row more of what waits: the mailbox is as it was
            self._changed[name] = None
            return
        before = self.box(name)
        box = digest.keep(before, sends, now_ms)
        if name in self._fresh:  # they are one row
            box = msgspec.structs.replace(box, held=before.held)
        self._hold(name, sends)
        self._put(name, box)

    def kept(self, name: Box) -> list[Send]:
        """What is kept for a contact, in order."""
        fresh = self._fresh.get(name, [])
        if name in self._emptied or self.box(name).held == bool(fresh):
            return fresh
        if name not in self._stored:
            self.read_kept([name])
        return [*self._stored[name], *fresh]

    def empty(
        self, name: Box, sends: Sequence[Send], now_ms: int, window_ms: int
    ) -> list[tuple[Sequence[Send], Sequence[Parcel]]]:
        """What goes out now of what was kept, and of these: each message as it is, and by its
        channels."""
        kept, before = self.kept(name), self.box(name)
        box, messages, stays = digest.empty(before, kept, sends, now_ms, window_ms)
        out: list[tuple[Sequence[Send], Sequence[Parcel]]] = []
        for message in messages:
            box, parcels = digest.parcels(box, message, now_ms)
            out.append((message, parcels))
        if before.held and len(stays) < len(kept):
            self._clear(name)
            if stays:
                self._hold(name, stays)
        if box != before:
            self._put(name, box)
        return out

    def _hold(self, name: Box, sends: Sequence[Send]) -> None:
        self._fresh.setdefault(name, []).extend(sends)

    def withdraw(self, order: Withdraw, names: Sequence[Box]) -> None:
        """Forget the calls that somebody has answered, in these mailboxes."""
        self.read(names)
        self.read_kept(names)
        for name in names:
            before = self.kept(name)
            after = [send for send in before if not order.ends(send.part, name.contact)]
            if len(after) < len(before):
                self._clear(name)
                if after:
                    self._hold(name, after)
                else:
                    box = msgspec.structs.replace(self.box(name), held=0, settles_ms=None)
                    self._put(name, box)

    def due(self, now_ms: int, limit: int) -> list[Box]:
        """Those whose window is over while something is kept, the longest overdue first."""
        given = {"now_ms": now_ms, "limit": limit}
        rows = self._connection.execute(statements.DUE[tables.mailbox], given).all()
        names = [Box(row.contact, row.exercise) for row in rows]
        for name, row in zip(names, rows, strict=True):
            if name not in self._boxes:
                self._boxes[name] = _BOX.decode(row.state)
        return names

    # What is about to be asked for, in few statements

    def read(self, names: Iterable[Box]) -> None:
        wanted = [name for name in names if name not in self._boxes]
        for name in wanted:
            self._boxes[name] = Mailbox(name.contact, exercise=name.exercise)
        for exercise in (False, True):
            contacts = [name.contact for name in wanted if name.exercise == exercise]
            for contact, content in statements.some(
                self._connection, statements.BOXES, contacts, exercise=exercise
            ):
                self._boxes[Box(contact, exercise)] = _BOX.decode(content)

    def read_kept(self, names: Iterable[Box]) -> None:
        wanted = [one for one in names if one not in self._stored and self._boxes[one].held]
        self._stored |= {name: [] for name in wanted}
        for exercise in (False, True):
            contacts = [name.contact for name in wanted if name.exercise == exercise]
            for contact, sends in statements.some(
                self._connection, statements.HELD, contacts, exercise=exercise
            ):
                self._stored[Box(contact, exercise)] += _SENDS.decode(sends)

    def save(self) -> None:
        """Write all that has changed."""
        for exercise in (False, True):
            contacts = [name.contact for name in self._emptied if name.exercise == exercise]
            for given in statements.portions(contacts, exercise=exercise):
                self._connection.execute(statements.EMPTY, given)
        held = [
            {
                "contact": name.contact,
                "exercise": name.exercise,
                "number": self._boxes[name].held,
                "sends": _ENCODER.encode(sends).decode(),
            }
            for name, sends in self._fresh.items()
        ]
        state.upsert(self._connection, tables.held, held)
        boxes = [
            {
                "contact": name.contact,
                "exercise": name.exercise,
                "state": _ENCODER.encode(self._boxes[name]).decode(),
                "due_ms": digest.next_due_ms(self._boxes[name]),
            }
            for name in self._changed
        ]
        state.upsert(self._connection, tables.mailbox, boxes)

    def _clear(self, name: Box) -> None:
        self._emptied.add(name)
        self._fresh.pop(name, None)

    def _put(self, name: Box, box: Mailbox) -> None:
        self._boxes[name] = box
        self._changed[name] = None
