"""An exercise by script in a real service: it outlives whoever began it, and the service itself."""

import asyncio
import json
from pathlib import Path

import httpx
from click.testing import CliRunner, Result

from cloud import alertcli
from tests import services
from tests.services import Service
from tests.system.test_answers import Office
from tests.waiting import PATIENCE_S, until

SCRIPT = """
title = "two streets"
lasts_min = 30
[[step]]
at_s = 0
site = "north"
hazard = "underpass"
level = "red"
[[step]]
at_s = 1
site = "south"
hazard = "underpass"
level = "orange"
[[expect]]
answer_within_min = 20
"""


def exercise(office: Office, *words: str) -> Result:
    """What the command does, in this process: to begin another takes longer than all the rest."""
    arguments = ["exercise", words[0], "--config", str(office.file), *words[1:]]
    return CliRunner().invoke(alertcli.alert, arguments)


async def test_an_exercise_goes_on_after_a_kill_and_ends_with_its_score(
    tmp_path: Path, mosquitto: Service
) -> None:
    script = tmp_path / "drill.toml"
    script.write_text(SCRIPT)
    with Office(tmp_path / "office", mosquitto, services.free_port()) as office:
        office.start()
        await office.listening()
        running = asyncio.create_task(
            asyncio.to_thread(exercise, office, "run", str(script), "--yes", "--json")
        )
        await until(office.messages)
        office.kill()
        office.start()

        async def both_called() -> bool:
            return set(await office.messages()) == {"north", "south"}

        await until(both_called)
        messages = await office.messages()
        assert all(one["title"].startswith("【演练】") for one in messages.values())
        async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
            for site in ("north", "south"):
                for answer in ("yes", "closed"):
                    link = messages[site]["link"]
                    done = await http.post(link, data={"answer": answer})
                    assert done.status_code == 200, done.text
        watched = await running  # beside a service that was killed meanwhile
        assert watched.exit_code == 0, watched.output
        assert "1 person would be called or told" in watched.stderr
        score = json.loads(watched.stdout)
        assert (score["end"], score["points"], score["most"]) == ("all is done", 20, 20)
        assert set((await office.phases()).values()) == {"idle"}
