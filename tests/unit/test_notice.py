"""NOTICE names whose work we stand on, as it is installed."""

import json

from scripts import notice
from tests.conftest import ROOT


def test_the_notice_has_all_that_is_installed_as_it_is() -> None:
    """Another Python may need fewer packages, never others than NOTICE has."""
    written = (ROOT / "NOTICE").read_text("utf-8").splitlines()
    made = "".join(notice.notice()).splitlines()
    missing = [line for line in made if line not in written]
    assert missing == [], "make it again: python -m scripts.notice > NOTICE"


def test_the_list_of_components_is_cyclonedx() -> None:
    document = json.loads(notice.sbom())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    names = {one["name"] for one in document["components"]}
    assert {"click", "msgspec", "pydantic", "sqlalchemy", "uvicorn", "pymodbus"} <= names
    assert "pytest" not in names
