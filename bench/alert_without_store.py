"""From a reading over the threshold to the first message, while the store is dead, over the same
while it is alive.

mosquitto, InfluxDB 1.x and `shuichi cloud run` are processes of their own, as in `alert_latency`.
Then InfluxDB is killed, and the same number of alerts is sent again. Nothing is acknowledged from
then on; the ordinary gateways beside go on sending.
"""

import tempfile
from pathlib import Path
from typing import Final

from bench import aggregator
from bench.alert_latency import storm_over, write
from bench.figure import Figure, Goal, Progress, Result, percentile, spread
from bench.programs import Influxd, Mosquitto, Program, free_port
from bench.sink import Sink
from configs.loader import UserError
from wire.mqtt import Broker

EACH: Final = 100
"""Alerts with the store alive, and with the store dead."""

FIGURE: Final = Figure(
    "reading given to the broker to first message, store dead ÷ store alive, p99",
    "ratio",
    Goal("<=", 1.5),
)


async def measure(progress: Progress) -> Result:
    """A minute. Raises UserError if a program fails, or if nobody is told of an alert."""
    sink, broker_port, influx_port = Sink(), free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="shuichi-bench-") as name:
        folder = Path(name)
        async with sink.serving() as port:
            write(folder, broker_port, port, aggregator.influx(influx_port, "bench"))
            broker = Mosquitto(folder, broker_port)
            influx = Influxd(folder, influx_port)
            cloud = Program("cloud", folder, "cloud", "run", "--unattended")
            with broker:
                broker.wait_until(broker.accepts)
                with influx, cloud:
                    influx.wait_until(influx.accepts)
                    cloud.wait_until(lambda: "listening at" in cloud.log.read_text("utf-8"))
                    where = Broker(port=broker_port)
                    alive, stored = await storm_over(where, sink, progress, range(EACH))
                    if not stored:
                        raise UserError("the store has taken nothing while it was alive")
                    influx.kill()
                    dead, _ = await storm_over(where, sink, progress, range(EACH, 2 * EACH))
                    cloud.look()
    came = {sink.messages[key].site: at_s for key, at_s in reversed(sink.came_s.items())}
    if lost := {*alive, *dead} - set(came):
        raise UserError(f"{len(lost)} of {2 * EACH} alerts were told to nobody")
    with_it = [came[site] - at_s for site, at_s in alive.items()]
    without = [came[site] - at_s for site, at_s in dead.items()]
    return Result(
        percentile(without, 99) / percentile(with_it, 99),
        {
            "store alive, s": spread(with_it),
            "store dead, s": spread(without),
            "alerts of each": EACH,
        },
    )
