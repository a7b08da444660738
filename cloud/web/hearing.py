"""What a reply that a provider has passed on does: it answers a call, or declines it, or says what
came of it, or is only recorded; and it is answered. In the transaction of the dispatch."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from cloud.alerts import replies, replyanswers, replytext, replywording, wording
from cloud.alerts.dispatch import Dispatch, News
from cloud.alerts.replies import Around, Says
from cloud.alerts.replyanswers import Answer
from cloud.alerts.replywording import About, Came
from cloud.channels import EXERCISE, Language, marked
from cloud.web import calls
from cloud.web.replies import OpenCall, Reply
from cloud.web.settings import Hook

log: Final = logging.getLogger("shuichi.web")

_KEPT: Final = 500
"""Characters of a reply that are kept."""

_QUOTABLE: Final = 12
"""Of our messages, the newest that a reply may quote."""


class Heard(NamedTuple):
    """A reply, and the hook by which it came. `spoken` are channels on which nobody reads."""

    name: str
    hook: Hook
    reply: Reply
    spoken: frozenset[str]

    @property
    def how(self) -> str:
        return f"{self.name}, {self.reply.sender}"

    @property
    def said(self) -> str:
        return self.reply.text[:_KEPT]


class Ours(NamedTuple):
    """The calls to the number that replies: those that wait, and earlier ones."""

    open: Sequence[OpenCall]
    past: Sequence[OpenCall]


class Meant(NamedTuple):
    """The calls that a reply is about; without any, what is wrong with it, for our record and for
    the person, and the earlier call that it may be about."""

    calls: tuple[OpenCall, ...]
    problem: str = ""
    came: Came = Came.UNCLEAR
    past: OpenCall | None = None

    @property
    def about(self) -> tuple[OpenCall, ...]:
        return self.calls or ((self.past,) if self.past else ())


class Told(NamedTuple):
    """What there is to answer."""

    heard: Heard
    reply: replies.Reply
    meant: Meant
    ours: Ours
    came: Came


def take(connection: Connection, dispatch: Dispatch, heard: Heard, now_ms: int) -> None:
    """A reply that was not heard before."""
    own = [one for one in calls.open_calls(connection, now_ms) if one.is_to(heard.reply)]
    contacts = {one.contact for one in own} | {*calls.contacts_of(dispatch, heard.reply.sender)}
    codes = replytext.fours(heard.reply.text[: replies.LONGEST])
    past = calls.earlier_calls(connection, now_ms, contacts, codes)
    ours = Ours(own, [one for one in past if one.is_to(heard.reply) and not one.waits])
    reply = _read(dispatch, heard, ours)
    meant = _meant(reply, ours, heard)
    came = _do(connection, dispatch, heard, reply, meant, now_ms)
    if came is None:
        return
    try:
        _answer(connection, dispatch, Told(heard, reply, meant, ours, came), now_ms)
    except DBAPIError:
        raise
    except Exception:  # a seam: what was said counts, whether or not we can answer it
        log.exception("%s: a reply cannot be answered", heard.how)


def _read(dispatch: Dispatch, heard: Heard, ours: Ours) -> replies.Reply:
    newest = sorted(ours.open, key=_when, reverse=True)[:_QUOTABLE]
    messages = [one.message for one in newest if one.message is not None]
    sent = chain.from_iterable((one.text, one.title, one.reply) for one in messages)
    subjects = {one.alerts or one.stands for one in ours.open}
    around = Around(
        tuple(filter(None, sent)),
        _names(dispatch, ours, [one.site for one in messages]),
        heard.hook.yes,
        heard.hook.no,
        earlier=tuple(one.code for one in ours.past),
        is_one=len(subjects) == 1,
    )
    return replies.read(heard.reply.text, [one.code for one in ours.open], around)


def _names(dispatch: Dispatch, ours: Ours, sites: Iterable[str]) -> tuple[str, ...]:
    """Of the persons who are called, of their areas and of the sites: who signs says no more."""
    plan = dispatch.plan
    contacts = dict.fromkeys(one.contact for one in (*ours.open, *ours.past))
    people = [plan.contact[name] for name in contacts if name in plan.contact]
    named = [
        *((one.name, one.name_en) for one in people),
        *((one.name, one.name_en) for one in (plan.area.get(one.area) for one in people) if one),
        *((one.name, one.name_en) for one in (plan.site.get(name) for name in sites) if one),
    ]
    return tuple(dict.fromkeys(filter(None, chain.from_iterable(named))))


def _meant(reply: replies.Reply, ours: Ours, heard: Heard) -> Meant:
    """The calls that codes name; without a code all that wait must be about the same alerts: a word
    is no answer to what it may not mean."""
    if reply.names:
        every = [*ours.open, *ours.past]
        return Meant(
            tuple(
                max((one for one in every if one.code == code), key=_which) for code in reply.names
            )
        )
    if reply.strangers and reply.says is Says.UNCLEAR:
        return Meant((), "a code of no call to this number", Came.NO_CALL)
    waiting = [call for call in ours.open if call.alerts] or [*ours.open]
    standing = [call for call in ours.past if call.stands and call.answered_by == call.contact]
    if reply.says in {Says.ACTING, Says.RESULT} or (reply.declines and not waiting):
        waiting = [*waiting, *standing]  # it may be of what they have answered
    if not waiting:
        what = f"with key {heard.reply.key}" if heard.reply.key else "to this number"
        newest = max(ours.past, key=_when, default=None)
        return Meant((), f"no call {what} is open", _past(newest), newest)
    newest = max(waiting, key=_when)
    if any(_alerts(call) - _alerts(newest) for call in waiting):
        problem = "calls about several alerts are open, and no code is said"
        return Meant((), problem, Came.SEVERAL)
    return Meant((newest,))


def _past(call: OpenCall | None) -> Came:
    """Why a call cannot be answered any more."""
    if call is None:
        return Came.NONE
    if not call.stands:
        return Came.OVER
    return Came.ANSWERED if call.answered_by else Came.LATE


_SILENT: Final = {
    Says.AUTOMATIC: "a machine answers",
    Says.STOP: "wants no more messages",
}
_IS_NO_ANSWER: Final = {Says.QUESTION: "a question", Says.UNCLEAR: "not understood"}


def _do(
    connection: Connection,
    dispatch: Dispatch,
    heard: Heard,
    reply: replies.Reply,
    meant: Meant,
    now_ms: int,
) -> Came | None:
    """Record it; what came of it, None where it gets no answer."""

    def remark(problem: str) -> None:
        dispatch.remark(connection, "reply", heard.how, f"{heard.said}: {problem}", now_ms)

    if reply.says in _SILENT:
        remark(_SILENT[reply.says])
        return None
    if reply.says in _IS_NO_ANSWER:
        is_code = meant.came is Came.NO_CALL
        remark(meant.problem if meant.problem else _IS_NO_ANSWER[reply.says])
        if is_code:
            return Came.NO_CALL
        return Came.QUESTION if reply.says is Says.QUESTION else Came.UNCLEAR
    if not meant.calls:
        remark(meant.problem)
        return meant.came
    came = [_record(connection, dispatch, heard, reply, call, now_ms) for call in meant.calls]
    best = min(came, key=[*Came].index)
    if best not in replywording.RECORDED:
        remark(f"{best}: it is no answer")
    return best


def _record(
    connection: Connection,
    dispatch: Dispatch,
    heard: Heard,
    reply: replies.Reply,
    call: OpenCall,
    now_ms: int,
) -> Came:
    """What is said of one call."""
    told = (call.id, call.contact, heard.how, heard.said, now_ms)
    tells = reply.says in {Says.ACTING, Says.RESULT}
    came = replywording.came_of(reply) or Came.UNCLEAR
    if reply.declines:
        dispatch.decline(connection, *told)
        came = came if call.waits else Came.TAKEN_BACK
    elif call.waits:
        named = call.message.named if call.message is not None else ()
        outcome = dispatch.answer(connection, *told, alerts=named or None)
        if not outcome.ok and not (tells and call.answered_by):
            came = _past(call)
    elif not tells or call.answered_by != call.contact:
        came = _past(call)
    if tells:
        kind = "acting" if reply.says is Says.ACTING else "result"
        news = News(kind, heard.how, heard.said, _detail(reply))
        dispatch.report(connection, call.id, news, now_ms)
    return came


def _detail(reply: replies.Reply) -> dict[str, object]:
    found: dict[str, object] = {}
    if reply.result is not None:
        found["result"] = str(reply.result)
    if reply.people is not None:
        found["people"] = reply.people
    return found


# Our answer


def _answer(connection: Connection, dispatch: Dispatch, told: Told, now_ms: int) -> None:
    """To the number that replied, by the channel of the call; to a number that was never called
    nothing is sent."""
    ours, heard = told.ours, told.heard
    some = [
        *told.meant.calls,
        *ours.open,
        *([told.meant.past] if told.meant.past else []),
        *ours.past,
    ]
    by = next((one for one in some if _can_carry(one, heard)), None)
    if by is None or by.message is None:
        return
    if told.came is Came.UNCLEAR and not ours.open:
        return  # thanks, after all is said
    tongue = by.message.language
    meant, offered = told.meant.about, [*_offered(told)]
    # Where a real alert is among them, each exercise says by itself that it is one.
    exercise = all(_is_exercise(one) for one in (*meant, *offered) or (by,))
    titled = partial(_title, dispatch, tongue=tongue, marks=not exercise)
    about = About(
        tuple(dict.fromkeys(map(titled, meant))),
        tuple((one.code, titled(one)) for one in offered),
        replywording.done(told.reply, tongue),
        next((_name(dispatch, one, tongue) for one in told.meant.about if one.answered_by), ""),
    )
    identity = heard.reply.message_id or f"{heard.reply.sender} {now_ms} {heard.said}"
    answer = Answer(
        f"{heard.name}/{hashlib.sha256(identity.encode(errors='replace')).hexdigest()[:16]}",
        by.contact,
        by.channel,
        by.message,
        exercise,
        by.parts,
        replywording.write(told.came, about, tongue),
        must_come=told.came in replywording.RECORDED,
    )
    replyanswers.send(connection, answer, now_ms)


def _can_carry(call: OpenCall, heard: Heard) -> bool:
    is_text = bool(call.channel) and call.channel not in heard.spoken
    return is_text and call.message is not None and bool(call.number)


def _is_exercise(call: OpenCall) -> bool:
    return call.message is not None and call.message.exercise


def _offered(told: Told) -> Iterable[OpenCall]:
    """What can be replied: of each alert the newest call that waits."""
    named = [one for one in told.meant.calls if one.waits]
    waiting = named or [one for one in told.ours.open if one.alerts] or told.ours.open
    seen: set[frozenset[str]] = set()
    for call in sorted(waiting, key=_when, reverse=True):
        if _alerts(call) not in seen:
            seen.add(_alerts(call))
            yield call


def _title(dispatch: Dispatch, call: OpenCall, tongue: Language, *, marks: bool) -> str:
    """A call in few words: site and level, or its title if it is about several. With `marks` that
    of an exercise says so."""
    message = call.message
    assert message is not None
    if not message.site or len({part.alert for part in call.parts}) > 1:
        title = message.title.removeprefix(EXERCISE[message.language])
    else:
        site = wording.site_name(dispatch.plan, message.site, tongue)
        title = replywording.title(site, message.level, tongue)
    return marked(title, tongue) if marks and message.exercise else title


def _name(dispatch: Dispatch, call: OpenCall, tongue: Language) -> str:
    return wording.contact_name(dispatch.plan, call.answered_by, tongue)


def _alerts(call: OpenCall) -> frozenset[str]:
    return call.alerts or call.stands


def _when(call: OpenCall) -> int:
    return call.made_ms


def _which(call: OpenCall) -> tuple[bool, int]:
    """Of two calls with one code, the one that waits."""
    return call.waits, call.made_ms
