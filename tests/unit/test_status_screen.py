"""What a person sees of a gateway and of the demo, on a narrow screen as on a wide one."""

import io

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console

from configs import commands, loader
from edge import show
from edge.health import State
from edge.poller import BusState, DeviceState
from edge.status import Clock, Commands, Process, Queue, Status, Uplink
from firmware_sim.demo import screen
from firmware_sim.demo.stage import Person, Stage
from firmware_sim.demo.watch import Picture
from wire.aspect import Aspect
from wire.messages import InterlockState

NAMES = ("ruler-north-1", "ruler-north-2", "rain-roof", "river-jialing-01")


def device(
    name: str, *others: str, breaker: State = State.CLOSED, failures: int = 0
) -> DeviceState:
    return DeviceState(
        sensor=name,
        sensors=(name, *others),
        unit=1,
        breaker=breaker,
        failures=failures,
        failed=123456,
        overruns=0,
        median_s=0.0123,
        p95_s=1.234,
        wait_s=0.1,
        cycle_s=1.0,
        answered_s=3723.0,
    )


def bus(*devices: DeviceState, **line: object) -> BusState:
    about = {"busy": 0.123, "cycle_s": 12.3, "overruns": 1234, "failed": 99999}
    return BusState(
        port="bus-underpass",
        median_s=0.01,
        p95_s=0.1,
        devices=devices,
        **about,  # type: ignore[arg-type]
        **line,  # type: ignore[arg-type]
    )


def shown(width: int, *buses: BusState) -> str:
    status = Status(
        gateway="gw-07",
        process=Process("0.1.0", "3.11.2", 4711, 86400.0, 40 << 20, ()),
        clock=Clock(0, True),
        queue=Queue("5f0c9a1be2d34477", 1, 1, 0, {}, 0, 0),
        uplink=Uplink("127.0.0.1:1883", True, 0, 1, 1.0),
        buses=buses,
        lamps=(),
        commands=Commands(0, 0, 0),
    )
    out = io.StringIO()
    show.status(Console(file=out, width=width), status, every_device=True)
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_name_and_no_figure_is_cut(width):
    text = shown(width, bus(*map(device, NAMES)))
    assert "…" not in text
    assert max(map(cell_len, text.splitlines())) <= width
    for name in NAMES:
        assert name in text
    assert "silent" in text
    assert ("p95 ms" in text) == (width >= 120)


def test_a_name_longer_than_the_screen_is_broken_and_not_shortened():
    name = "a" * 70
    text = shown(60, bus(device(name)))
    assert text.count("a" * 20) >= 2
    assert "…" not in text


def test_a_line_that_is_down_says_so_and_nothing_of_its_devices():
    text = shown(
        100,
        bus(
            *map(device, NAMES),
            line="down",
            line_since_s=75.0,
            line_error="/dev/ttyUSB0: No such file or directory",
        ),
    )
    assert "port bus-underpass is down for 1 min 15 s: /dev/ttyUSB0: No such file or dir" in text
    assert text.count("no line") == len(NAMES)
    assert "closed" not in text
    (row,) = [line for line in text.splitlines() if "DOWN" in line]
    assert row.split()[-2:] == ["4", "4"]  # devices, silent


def test_several_sensors_of_a_device_are_counted():
    assert "ch-1 +7" in shown(80, bus(device("ch-1", *(f"ch-{n}" for n in range(2, 9)))))


def stage(tmp_path, amber_m: float = 0.15, red_m: float = 0.30) -> Stage:
    thresholds = {"amber": amber_m, "red": red_m}
    nobody: dict[str, Person] = {}
    where = ("gw-07", "0", "underpass", "ruler-1", "relay-1")
    return Stage(tmp_path, *where, 1.0, thresholds, {}, tmp_path / "alerts.jsonl", nobody, {})


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("red_m", [0.30, 1.50])
def test_the_demo_shows_all_of_itself(tmp_path, width, red_m):
    picture = Picture()
    picture.depths.extend((1000 * n, red_m * n / 50) for n in range(60))
    picture.interlock = InterlockState(
        "underpass", Aspect.FLASHING_AMBER, None, 1.5, "threshold", 0, False
    )
    view = screen.render(
        picture, stage(tmp_path, red_m=red_m), screen.Clock("A storm", 0, 60, 3600), 50_000
    )
    out = io.StringIO()
    Console(file=out, width=width).print(view)
    text = out.getvalue()
    lines = text.splitlines()
    assert max(map(cell_len, lines)) <= width
    assert "…" not in text
    for part in ("15 cm amber", f"{red_m * 100:.0f} cm red", "not confirmed yet"):
        assert part in text, text
    for figure in ("lamp", "depth", "rain", "river", "crack", "taken", "stored", "called"):
        assert figure in text, text
    if width >= 120:
        assert sum("╌" in line for line in lines) >= 1
        assert max(line.count("▔") for line in lines) == screen.CHART_WIDTH


@pytest.mark.parametrize("width", ["60", "80", "120"])
@pytest.mark.parametrize("line", ["sensor list", "sensor profiles", "edge check"])
def test_tables_of_the_config_cut_nothing(width, line):
    here = loader.HERE / "sites" / "underpass" / "gateway.toml"
    done = CliRunner().invoke(
        commands.cli, [*line.split(), "--config", str(here)], env={"COLUMNS": width}
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert "…" not in done.stdout
    assert max(map(cell_len, done.stdout.splitlines())) <= int(width)
    wanted = {
        "sensor list": ("ruler-1", "crack-grating-38400"),
        "sensor profiles": ("crack-draw-wire-115200", "relay-waveshare-8ch"),
        "edge check": ("daping-underpass", "lamp ms"),
    }
    for part in wanted[line]:
        assert part in done.stdout
