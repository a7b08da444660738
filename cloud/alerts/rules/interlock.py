"""The lamp above an underpass: what its gateway tells of it, and what it shows."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from pydantic import Field

from cloud.alerts import gatewaywords, trouble
from cloud.alerts.devices import Device
from cloud.alerts.hazard import Hazard
from cloud.alerts.rule import (
    Colour,
    Finding,
    Place,
    Positive,
    Rule,
    RuleConfig,
    Said,
    Tick,
    forward,
    ms,
    trust,
)
from cloud.alerts.trouble import Trouble
from wire.aspect import Aspect
from wire.messages import Event, InterlockState, Level
from wire.reading import Quantity, Reading

Seconds = Annotated[float, Field(ge=0, le=31_536_000)]


class Config(RuleConfig):
    """`[rule.<name>]` with `kind = "interlock"`. With `latched_below_cm` a red that holds although
    the water is lower is told too: it waits for a person."""

    kind: Literal["interlock"]
    unconfirmed_s: Seconds = 10
    unconfirmed_level: Colour = Level.RED
    ruler_s: Seconds = 0
    ruler_level: Colour = Level.ORANGE
    disagree_level: Colour = Level.YELLOW
    override_level: Colour = Level.BLUE
    latched_below_cm: Positive | None = None
    latched_s: Seconds = 900
    latched_level: Colour = Level.YELLOW

    def rules(self, name: str) -> Sequence[Rule[Any]]:
        scope = self._scope(name, Hazard.EQUIPMENT)
        parts: list[Rule[Any]] = [
            Lamp(**scope, level=self.unconfirmed_level, after_ms=ms(self.unconfirmed_s)),
            Ruler(**scope, level=self.ruler_level, after_ms=ms(self.ruler_s)),
            Disagreement(**scope, level=self.disagree_level),
            Override(**scope, level=self.override_level),
        ]
        if self.latched_below_cm is not None:
            below_m = self.latched_below_cm / 100
            after_ms = ms(self.latched_s)
            parts.append(
                Latch(**scope, level=self.latched_level, after_ms=after_ms, below_m=below_m)
            )
        return parts


class Verdict(msgspec.Struct, frozen=True):
    """What is said of a trouble: it is there, for this reason, or (`text` empty) it is over."""

    text: str = ""
    text_zh: str = ""
    parts: dict[str, str | int | float | None] = {}


WELL = Verdict()


@dataclass(frozen=True, kw_only=True)
class Part(Rule[Trouble]):
    """One thing that can be wrong with an interlock."""

    level: Level
    after_ms: int = 0

    well: ClassVar[str]
    well_zh: ClassVar[str]
    hears = frozenset({Event, InterlockState, Tick})
    memory = Trouble

    @abstractmethod
    def verdict(self, said: Event | InterlockState) -> Verdict | None:
        """What `said` says of the trouble, None if nothing."""

    def place(self, gateway: str, said: Said) -> Place | None:
        if isinstance(said, Event | InterlockState) and self.verdict(said) is not None:
            place = Place(gateway, said.site, self._ruler(said))
            return place if self._covers(*place) else None
        return None

    def step(self, state: Trouble, said: Said, now_ms: int) -> tuple[Trouble, Finding | None]:
        at_ms = now_ms
        if isinstance(said, Event | InterlockState):
            verdict = self.verdict(said)
            # A state is of now, whatever the gateway's clock says; events may be of a backlog. Two
            # of one moment are told in their order: only older ones are old news.
            said_ms = said.at_ms if isinstance(said, Event) else now_ms
            if verdict is None or said_ms < state.newest_ms:
                return state, None
            at_ms = min(said_ms, now_ms)
            since_ms = None
            if verdict.text:
                since_ms = at_ms if state.since_ms is None else state.since_ms
            state = Trouble(
                since_ms,
                state.level,
                verdict.text,
                verdict.text_zh,
                verdict.parts,
                max(state.newest_ms, at_ms),
            )
        name = f"interlock_{self.part}"
        return trouble.judge(state, at_ms, self.after_ms, self.level, name, self.well, self.well_zh)

    def _ruler(self, said: Event | InterlockState) -> str:
        return ""


@dataclass(frozen=True, kw_only=True)
class Lamp(Part):
    """The lamp was not seen to show what it should."""

    part: ClassVar[str] = "lamp"
    well: ClassVar[str] = "the lamp shows what it should"
    well_zh: ClassVar[str] = "信号灯显示正常"

    def verdict(self, said: Event | InterlockState) -> Verdict | None:
        if isinstance(said, InterlockState):
            if said.confirmed is said.wanted:
                return WELL
            return self._wrong(said.wanted, said.confirmed)
        match said.kind:
            case "signal_unconfirmed":
                return self._wrong(str(said.detail.get("wanted", "")), None)
            case "aspect_confirmed":
                return WELL
        return None

    @staticmethod
    def _wrong(wanted: str, shown: str | None) -> Verdict:
        if shown is None:
            text = f"the lamp should be {_english(wanted)}, and nobody knows whether it is"
            text_zh = f"信号灯应为{gatewaywords.aspect(wanted)}，是否点亮无法确认"
        else:
            text = f"the lamp should be {_english(wanted)} and is {_english(shown)}"
            text_zh = f"信号灯应为{gatewaywords.aspect(wanted)}，实际为{gatewaywords.aspect(shown)}"
        parts: dict[str, str | int | float | None] = {
            "wanted": wanted,
            "shown": shown or "nothing known",
            "device": Device.LAMP,
        }
        return Verdict(
            f"{text}: drivers may not be warned", f"{text_zh}，司机可能得不到警示", parts
        )


@dataclass(frozen=True, kw_only=True)
class Ruler(Part):
    """The interlock does not believe a ruler: it is silent, stands still, or jumps and is not
    confirmed."""

    part: ClassVar[str] = "ruler"
    well: ClassVar[str] = "the interlock believes the ruler again"
    well_zh: ClassVar[str] = "水尺读数恢复可信"
    hears = frozenset({Event, Tick})

    def verdict(self, said: Event | InterlockState) -> Verdict | None:
        if not isinstance(said, Event):
            return None
        match said.kind:
            case "ruler_lost":
                return Verdict(
                    "a water gauge has given no reading, and the lamp cannot follow it",
                    "一处水尺没有可信读数，信号灯不能随它变化",
                    {"ruler": self._ruler(said), "device": Device.RULER},
                )
            case "ruler_back":
                return WELL
        return None

    def _ruler(self, said: Event | InterlockState) -> str:
        return str(said.detail.get("ruler", "")) if isinstance(said, Event) else ""


@dataclass(frozen=True, kw_only=True)
class Disagreement(Part):
    """The rulers of a site disagree; for how long they may, the gateway knows."""

    part: ClassVar[str] = "disagreement"
    well: ClassVar[str] = "the rulers agree again"
    well_zh: ClassVar[str] = "各水尺读数恢复一致"
    hears = frozenset({Event})

    def verdict(self, said: Event | InterlockState) -> Verdict | None:
        if not isinstance(said, Event):
            return None
        match said.kind:
            case "rulers_disagree":
                apart = said.detail.get("apart_m")
                by = by_zh = ""
                if isinstance(apart, int | float):
                    by, by_zh = f" by {100 * apart:.0f} cm", f"{100 * apart:.0f}厘米"
                return Verdict(
                    f"the water gauges have differed{by}: nobody knows how deep the water is",
                    f"各水尺读数相差{by_zh or '较大'}，积水深度无法确定",
                    {"apart_m": apart, "device": Device.RULER},
                )
            case "rulers_agree":
                return WELL
        return None


@dataclass(frozen=True, kw_only=True)
class Override(Part):
    """The lamp shows what a person asked for, at the local switch or from afar."""

    part: ClassVar[str] = "override"
    well: ClassVar[str] = "the lamp follows the water again"
    well_zh: ClassVar[str] = "信号灯恢复按水位控制"

    def verdict(self, said: Event | InterlockState) -> Verdict | None:
        if isinstance(said, InterlockState):
            cause, aspect = said.cause, said.wanted.value
        elif said.kind == "aspect_wanted":
            cause, aspect = str(said.detail.get("cause", "")), str(said.detail.get("to", ""))
        else:
            return None
        if cause == "local switch" or cause.startswith("order of "):
            by = "the switch on site" if cause == "local switch" else "order from afar"
            by_zh = "现场开关" if cause == "local switch" else "远程指令"
            return Verdict(
                f"the lamp has been kept {_english(aspect)} by {by}: it does not follow the water",
                f"信号灯由{by_zh}固定为{gatewaywords.aspect(aspect)}，不随积水变化",
                {"cause": cause, "aspect": aspect, "device": Device.LAMP},
            )
        return WELL


def _english(aspect: str) -> str:
    return aspect.replace("_", " ")


class Latched(msgspec.Struct, frozen=True, tag="latched"):
    """Whether red is wanted, and how the water stands."""

    red: bool = False
    water_ms: int = 0
    trouble: Trouble = Trouble()


@dataclass(frozen=True, kw_only=True)
class Latch(Rule[Latched]):
    """Red holds although every believable depth of the site is under `below_m`."""

    level: Level
    after_ms: int
    below_m: float

    part: ClassVar[str] = "latched"
    hears = frozenset({InterlockState, Reading, Tick})
    memory = Latched

    def place(self, gateway: str, said: Said) -> Place | None:
        match said:
            case InterlockState() | Reading(quantity=Quantity.DEPTH):
                place = Place(gateway, said.site)
                return place if self._covers(*place) else None
        return None

    def step(self, state: Latched, said: Said, now_ms: int) -> tuple[Latched, Finding | None]:
        red, water_ms, wrong = state.red, state.water_ms, state.trouble
        below_cm = 100 * self.below_m
        if isinstance(said, InterlockState):
            red = said.wanted is Aspect.RED
        elif isinstance(said, Reading):
            newest_ms = forward(water_ms, said.at_ms, now_ms)
            if newest_ms is None or said.value is None or not trust(said).raises:
                return state, None
            water_ms = newest_ms
            if said.value >= self.below_m:
                wrong = msgspec.structs.replace(wrong, since_ms=None)
            elif red and wrong.since_ms is None and trust(said).clears:
                wrong = msgspec.structs.replace(
                    wrong,
                    since_ms=newest_ms,
                    text=f"the lamp has stayed red with less than {below_cm:g} cm of water: look, "
                    "and release it",
                    text_zh=f"积水已退到{below_cm:g}厘米以下，信号灯仍为红色，请查看后复位",
                    parts={"device": Device.LAMP},
                )
        if not red:
            wrong = msgspec.structs.replace(wrong, since_ms=None)
        wrong, finding = trouble.judge(
            wrong,
            now_ms,
            self.after_ms,
            self.level,
            "interlock_latched",
            "the lamp is red no more",
            "信号灯不再为红色",
        )
        return Latched(red, water_ms, wrong), finding
