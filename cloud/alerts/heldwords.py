"""What people read of an alert that is held back: by whom, until when, and why. Pure."""

from collections.abc import Sequence

from cloud.alerts import wording
from cloud.alerts.alarm import Cover
from cloud.alerts.plan import Plan
from cloud.alerts.wording import moment
from cloud.channels import Language


def of(plan: Plan, held: Sequence[Cover], now_ms: int, tongue: Language) -> str:
    """A sentence for each thing that holds it back."""
    said = dict.fromkeys(_sentence(plan, one, now_ms, tongue) for one in held)
    return ("" if tongue == "zh" else " ").join(said)


def _sentence(plan: Plan, one: Cover, now_ms: int, tongue: Language) -> str:
    why = one.reason.rstrip("。. ")
    if one.until_ms is None:  # another alert goes before it, by the plan
        return f"因{why}暂不呼叫。" if tongue == "zh" else f"Nobody is called for it: {why}."
    at = moment(plan, one.until_ms, now_ms, tongue)
    by = wording.contact_name(plan, one.by, tongue)
    if tongue == "zh":
        return f"{by}已暂停呼叫至{at}，原因：{why}。"
    return f"{by} has stopped the calls until {at}: {why}."
