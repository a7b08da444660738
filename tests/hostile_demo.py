"""`shuichi demo` whose cloud knows a second gateway, the one from which attacks come."""

from bench.attacks import HOSTILE, SITE
from firmware_sim.demo import cli, stage
from shuichi import main

_prepare = stage.prepare


def prepare(*arguments, **named):
    ready = _prepare(*arguments, **named)
    with (ready.folder / "cloud.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[gateway.{HOSTILE}]\nsites = ["{SITE}"]\n')
    return ready


if __name__ == "__main__":
    stage.prepare = prepare
    # Under attack the gateway may have the last batches still, and nobody answers for its site.
    vars(cli).update(_TAKEN_WITHIN_S=3.0, _CALLS_END_WITHIN_S=6.0)
    main()
