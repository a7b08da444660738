"""What docs/alerts.md shows must work as it stands there."""

import re
import tomllib

from click.testing import CliRunner

from cloud import alertcli, config
from cloud.alerts.plantables import Site
from configs import loader
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "alerts.md").read_text("utf-8")


def test_the_configs_can_be_used(tmp_path):
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    places = [block for block in blocks if "polygon" in block]
    scripts = [block for block in blocks if "[[step]]" in block]
    file = tmp_path / "cloud.toml"
    others = (block for block in blocks if block not in (*places, *scripts))
    file.write_text("\n".join(others), "utf-8")
    read = config.read(file).config
    assert set(read.hook) == {"sms", "voice"}
    assert read.cap is not None
    (site,) = tomllib.loads(places[0])["site"].values()
    made = loader.parse(site | {"name": "n", "area": "a", "hazards": []}, Site, "alerts.md")
    assert made.place.circles[0].radius_m == 300


def test_the_commands_are_there():
    named = set(re.findall(r"shuichi alert ([a-z-]+)", PAGE))
    assert named <= set(alertcli.alert.commands)
    assert set(alertcli.alert.commands) - named <= {
        "unsuppress",
        "out-of-service",
        "return-to-service",
        "report",
    }
    assert CliRunner().invoke(alertcli.alert, ["--help"]).exit_code == 0
