"""What everybody is advised to do, and the CAP code of it. Pure.

The advice is for people who pass by or live there, not for those on duty: it gives no order to
close a road, it says not to enter one. A plan writes its own in `[[public_instruction]]`; what it
leaves out is said with the words here. `{detour}` and `{shelter}` are the site's own, where its
`values` have them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

from cloud.alerts.hazard import Hazard, Stage
from cloud.channels import Language
from wire.messages import Level

Doing = Literal["Shelter", "Evacuate", "Prepare", "Execute", "Avoid", "Monitor", "Assess", "None"]
"""The CAP codes of what to do while a warning holds."""

Response = Doing | Literal["AllClear"]

PLACEHOLDERS: Final = ("site", "detour", "shelter")
"""Those that every site has a value for; a site's own `values` come to them."""

UNNAMED: Final[Mapping[str, Mapping[Language, str]]] = {
    "detour": {"zh": "其他道路", "en": "another road"},
    "shelter": {"zh": "就近的避险场所", "en": "the nearest shelter"},
}
"""What stands in a placeholder where the site says nothing."""


class Advice(NamedTuple):
    """What to do: the codes for machines, and the words in each language."""

    responses: tuple[Response, ...]
    zh: str
    en: str

    def of(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


class Written(Protocol):
    """An instruction that a plan has written: see `plantables.PublicInstruction`."""

    @property
    def hazard(self) -> Hazard: ...

    @property
    def levels(self) -> Sequence[Level]: ...

    @property
    def stages(self) -> Sequence[Stage]: ...

    @property
    def responses(self) -> tuple[Doing, ...]: ...

    @property
    def zh(self) -> str: ...

    @property
    def en(self) -> str: ...


_AHEAD: Final = (Stage.TREND, Stage.SOON)
"""Hours are left: people get ready. At the nearer stages they act."""

_NOW: Final[Mapping[tuple[Hazard, Level], Advice]] = {
    (Hazard.UNDERPASS, Level.BLUE): Advice(
        ("Monitor",),
        "路面可能积水。车辆请减速慢行，留意现场警示灯和标志。",
        "There may be water on the road. Drive slowly, and watch the warning lights and signs.",
    ),
    (Hazard.UNDERPASS, Level.YELLOW): Advice(
        ("Avoid",),
        "下穿道已有积水。请绕行{detour}；不要驶入积水路段，行人和电动车不要涉水。",
        "There is water in the underpass. Take {detour}. "
        "Do not drive, ride or walk through the water.",
    ),
    (Hazard.UNDERPASS, Level.ORANGE): Advice(
        ("Avoid",),
        "请勿驶入积水路段，绕行{detour}。行人不要涉水，远离路口和集水井。",
        "Do not drive into the water: take {detour}. "
        "On foot, stay out of the water and away from drains.",
    ),
    (Hazard.UNDERPASS, Level.RED): Advice(
        ("Avoid",),
        "严禁驶入、步入下穿道，请绕行{detour}。车辆在水中熄火时，不要再点火，"
        "立即离车走向高处，拨打110或119求助。",
        "Do not enter the underpass by car or on foot: take {detour}. If your car stalls in the "
        "water, do not restart it: leave it at once, go to higher ground, and call 110 or 119.",
    ),
    (Hazard.RIVER, Level.BLUE): Advice(
        ("Monitor",),
        "河水上涨。请勿下河游泳、垂钓、戏水，留意水情通知。",
        "The river is rising. Do not swim, fish or play in it. Follow the news of the water.",
    ),
    (Hazard.RIVER, Level.YELLOW): Advice(
        ("Prepare", "Avoid"),
        "请远离河道、河滩和低洼处，将车辆和贵重物品移到高处，做好转移准备。",
        "Keep away from the river, its banks and low ground. Move cars and valuables to higher "
        "ground, and get ready to leave.",
    ),
    (Hazard.RIVER, Level.ORANGE): Advice(
        ("Prepare", "Avoid"),
        "请立即离开河滩和沿河道路。低洼处居民备好证件、药品和手电，一接到通知就转移到{shelter}。",
        "Leave the banks and the roads along the river now. If you live on low ground, pack "
        "papers, medicine and a torch, and go to {shelter} as soon as you are told.",
    ),
    (Hazard.RIVER, Level.RED): Advice(
        ("Evacuate",),
        "低洼处人员请立即转移到{shelter}，听从现场人员指挥。不要返回取物，不要过桥涉水。",
        "Leave low ground now and go to {shelter}. Do what the people on the spot say. "
        "Do not go back for belongings, and do not cross water or bridges.",
    ),
    (Hazard.RAINSTORM, Level.BLUE): Advice(
        ("Monitor",),
        "将有较强降雨。外出请带雨具，留意最新预警，避开低洼路段。",
        "Heavy rain is coming. Follow the warnings, and keep off low roads.",
    ),
    (Hazard.RAINSTORM, Level.YELLOW): Advice(
        ("Prepare",),
        "请减少外出，避开下穿道、地下空间和河边，关好门窗，检查排水。",
        "Go out as little as you can. Keep away from underpasses, basements and rivers. "
        "Close doors and windows, and clear the drains.",
    ),
    (Hazard.RAINSTORM, Level.ORANGE): Advice(
        ("Shelter", "Avoid"),
        "请留在安全的室内，停止户外作业。不要进入下穿道和地下空间，远离山坡和河沟。",
        "Stay indoors in a safe place, and stop work outdoors. Do not enter underpasses or "
        "basements. Keep away from slopes and streams.",
    ),
    (Hazard.RAINSTORM, Level.RED): Advice(
        ("Shelter",),
        "请立即到安全的室内或{shelter}躲避。住在山坡下、河沟边和地下室的人员马上离开，"
        "不要驾车涉水。",
        "Take shelter indoors in a safe place, or go to {shelter}, now. If you live below a slope, "
        "beside a stream or in a basement, leave at once. Do not drive through water.",
    ),
    (Hazard.LANDSLIDE, Level.BLUE): Advice(
        ("Monitor",),
        "请留意山坡裂缝、落石、井水变浑等迹象，发现后立即报告并离开。",
        "Look out for cracks, falling stones and muddy springs. Report them at once, and leave.",
    ),
    (Hazard.LANDSLIDE, Level.YELLOW): Advice(
        ("Prepare", "Avoid"),
        "请勿在坡脚停留。坡下居民备好证件、药品和手电，熟悉转移路线，夜间保持警觉。",
        "Do not stay at the foot of the slope. If you live below it, pack papers, medicine and a "
        "torch, learn the way out, and stay alert at night.",
    ),
    (Hazard.LANDSLIDE, Level.ORANGE): Advice(
        ("Evacuate", "Avoid"),
        "坡下人员请转移到{shelter}，从两侧离开，不要顺坡向下跑。车辆和行人绕行{detour}。",
        "Leave the foot of the slope for {shelter}. Go sideways, not down the slope. "
        "Traffic takes {detour}.",
    ),
    (Hazard.LANDSLIDE, Level.RED): Advice(
        ("Evacuate",),
        "请立即向两侧撤离，转移到{shelter}，不要顺坡向下跑，不要返回取物。"
        "预警解除前不得进入危险区。",
        "Get away sideways now and go to {shelter}. Do not run down the slope, and do not go back "
        "for belongings. Keep out until the warning is over.",
    ),
}

_BEFORE: Final[Mapping[Hazard, Advice]] = {
    Hazard.UNDERPASS: Advice(
        ("Prepare",),
        "下穿道可能积水。请提前安排绕行{detour}，不要在道内停车，留意最新预警。",
        "The underpass may be flooded. Plan to take {detour}, do not park there, "
        "and follow the warnings.",
    ),
    Hazard.RIVER: Advice(
        ("Prepare",),
        "河水可能上涨。请远离河滩，低洼处居民备好证件和药品，提前了解去{shelter}的路线。",
        "The river may rise. Keep off its banks. If you live on low ground, pack papers and "
        "medicine, and learn the way to {shelter}.",
    ),
    Hazard.RAINSTORM: Advice(
        ("Prepare",),
        "将有强降雨。请调整出行，关好门窗，清理排水口，避开下穿道、山坡和河边。",
        "Heavy rain is expected. Change your plans, close windows, clear the drains, and keep away "
        "from underpasses, slopes and rivers.",
    ),
    Hazard.LANDSLIDE: Advice(
        ("Prepare",),
        "山坡可能滑动。坡下居民备好证件、药品和手电，熟悉去{shelter}的路线，随时准备转移。",
        "The slope may move. If you live below it, pack papers, medicine and a torch, learn the "
        "way to {shelter}, and be ready to leave.",
    ),
}
"""Hours ahead, at all levels but blue."""

_OVER: Final[Mapping[Hazard, Advice]] = {
    Hazard.UNDERPASS: Advice(
        ("AllClear",),
        "预警已解除。通行前请看清路面，注意湿滑和淤泥，服从现场指挥。",
        "The warning is over. Look at the road before you enter, mind mud and slippery ground, "
        "and follow the signs.",
    ),
    Hazard.RIVER: Advice(
        ("AllClear",),
        "预警已解除。转移人员请等通知再返回，河岸松软，不要靠近。",
        "The warning is over. If you have left, return when you are told to. "
        "Keep off the banks: they are soft.",
    ),
    Hazard.RAINSTORM: Advice(
        ("AllClear",),
        "预警已解除。雨后请避开积水路段、山坡和河沟。",
        "The warning is over. Keep away from flooded roads, slopes and streams for a while.",
    ),
    Hazard.LANDSLIDE: Advice(
        ("AllClear",),
        "预警已解除。坡体可能仍不稳定，转移人员请等通知再返回。",
        "The warning is over. The slope may still be loose: return only when you are told to.",
    ),
}


def advice(hazard: Hazard, level: Level, stage: Stage, written: Sequence[Written] = ()) -> Advice:
    """What to do while a warning holds: what the plan has `written`, the first that fits, else our
    own words. Of equipment nobody is advised anything: KeyError."""
    ahead = stage in _AHEAD and level > Level.BLUE
    own = _BEFORE[hazard] if ahead else _NOW[hazard, level]
    for one in written:
        if one.hazard is hazard and level in one.levels and stage in one.stages:
            return Advice(one.responses or own.responses, one.zh, one.en)
    return own


def at_the_end(hazard: Hazard) -> Advice:
    """What to do when a warning is over."""
    return _OVER[hazard]


def everything() -> Iterator[Advice]:
    """All our own words."""
    yield from _NOW.values()
    yield from _BEFORE.values()
    yield from _OVER.values()
