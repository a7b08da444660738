"""What a person writes about a lamp: its rule, its signal, the switch beside it, and whose orders
it obeys. Part of `gateway.toml`."""

import base64
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from configs.loader import Kind, Model
from drivers.measures import significant
from drivers.signals import SignalConfig
from edge.commandrules import FRESH_FOR_S
from edge.interlock import Rule
from edge.localswitch import LocalSwitchConfig
from edge.rulers import RulerRule
from wire.aspect import Aspect
from wire.topics import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
Seconds = Annotated[float, Field(gt=0, le=86400)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=200)]
Centimetres = Annotated[float, Field(gt=0, le=1000)]


class Interlock(Model):
    """The rule and the signal of one site; `edge.interlock` and `edge.rulers` say how it works.

    The water must fall `clear_lower_cm` under a threshold before its hold begins, or under
    `amber_clear_cm`, `red_clear_cm` where these are given. `latch_red`: a person must agree
    before red falls. `jump_cm`, `stuck_after_s` and `disagree_cm` are off when they are 0.
    `lamp_within_s` is how long the lamp may take from the depth, at worst; what the buses cannot
    keep with a device dead on each is refused. `second_path` says in words what closes the road
    if the gateway dies and its signal keeps the last aspect; without it such a signal is refused.
    """

    rulers: Annotated[tuple[str, ...], Field(min_length=1)]
    amber_depth_cm: Centimetres = 15
    red_depth_cm: Centimetres = 30
    clear_lower_cm: Centimetres = 3
    amber_clear_cm: Centimetres | None = None
    red_clear_cm: Centimetres | None = None
    rise_samples: Annotated[int, Field(ge=1, le=20)] = 2
    lamp_within_s: Seconds = 10
    hold_s: Annotated[float, Field(ge=0, le=86400)] = 300
    stale_after_s: Seconds = 10
    jump_cm: Annotated[float, Field(ge=0, le=1000)] = 50
    stuck_after_s: Annotated[float, Field(ge=0, le=864000)] = 21600
    disagree_cm: Annotated[float, Field(ge=0, le=1000)] = 10
    disagree_after_s: Seconds = 60
    latch_red: bool = False
    safe_aspect: Aspect = Aspect.AMBER
    refresh_every_s: Seconds = 10
    local_switch: LocalSwitchConfig | None = None
    second_path: Words | None = None
    signal: Annotated[SignalConfig, Kind("drivers.signals")]

    @model_validator(mode="after")
    def _in_order(self) -> "Interlock":
        if self.amber_depth_cm >= self.red_depth_cm:
            raise ValueError(
                f"amber_depth_cm {self.amber_depth_cm:g} is not below "
                f"red_depth_cm {self.red_depth_cm:g}"
            )
        for name, clear, over in (
            ("amber", self.clear_at("amber"), self.amber_depth_cm),
            ("red", self.clear_at("red"), self.red_depth_cm),
        ):
            if not 0 < clear < over:
                raise ValueError(
                    f"{name} would clear at {clear:g} cm: that must lie between 0 and "
                    f"{name}_depth_cm {over:g}; set {name}_clear_cm or clear_lower_cm"
                )
        if self.safe_aspect.severity < Aspect.FLASHING_AMBER.severity:
            raise ValueError(
                f"safe_aspect {self.safe_aspect.value!r} warns nobody: "
                "use 'flashing_amber', 'amber' or 'red'"
            )
        if self.safe_aspect not in self.signal.can_show:
            able = ", ".join(repr(aspect.value) for aspect in self.signal.can_show)
            raise ValueError(
                f"safe_aspect {self.safe_aspect.value!r}: its signal can only show {able}"
            )
        return self

    @property
    def closes_by_itself(self) -> str:
        """What closes the road when the gateway dies: in words, "" if nothing does."""
        if self.signal.refresh_within_s is not None:
            return f"the signal falls back after {self.signal.refresh_within_s:g} s"
        return self.second_path or str(getattr(self.signal, "second_path", "")).strip()

    def clear_at(self, threshold: str) -> float:
        """The depth under which "amber" or "red" begins to clear, cm."""
        own = self.amber_clear_cm if threshold == "amber" else self.red_clear_cm
        over = self.amber_depth_cm if threshold == "amber" else self.red_depth_cm
        return over - self.clear_lower_cm if own is None else own

    @property
    def rule(self) -> Rule:
        """The same in SI, as `edge.interlock` takes it."""
        return Rule(
            rulers=RulerRule(
                amber_m=_metres(self.amber_depth_cm),
                red_m=_metres(self.red_depth_cm),
                amber_clear_m=_metres(self.clear_at("amber")),
                red_clear_m=_metres(self.clear_at("red")),
                rise_samples=self.rise_samples,
                stale_after_s=self.stale_after_s,
                jump_m=_metres(self.jump_cm) or None,
                stuck_after_s=self.stuck_after_s or None,
            ),
            hold_s=self.hold_s,
            safe=self.safe_aspect,
            latch_red=self.latch_red,
            disagree_m=_metres(self.disagree_cm) or None,
            disagree_after_s=self.disagree_after_s,
        )


def _metres(centimetres: float) -> float:
    """The number that a device's reading of the same depth gives: a threshold counts as over."""
    return significant(centimetres / 100)


def _public_key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ValueError("is not a public key: `shuichi command key` prints one")
    return text


class Commands(Model):
    """Whose orders the interlocks obey: public Ed25519 keys (base64) by name. While the gateway's
    clock is trusted, a command is obeyed within `fresh_for_s` of the time at which it was issued,
    before and after."""

    keys: dict[Name, Annotated[str, AfterValidator(_public_key)]] = {}
    fresh_for_s: Annotated[float, Field(ge=10, le=86400)] = FRESH_FOR_S

    @field_validator("keys")
    @classmethod
    def _each_key_once(cls, keys: dict[str, str]) -> dict[str, str]:
        """The log names the key that gave a command: it must be one person's, or one group's."""
        names: dict[bytes, str] = {}
        for name, text in keys.items():
            first = names.setdefault(base64.b64decode(text), name)
            if first != name:
                raise ValueError(
                    f"{first!r} and {name!r} are the same key: nobody could tell who gave a command"
                )
        return keys
