"""The servers that the environment names are treated with care, tried on played ones: a test has a
place of its own, removes it, and touches nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import influxservers
from tests.contract.test_given_influx import init
from tests.influxprogram import Administered
from tests.influxservers import RELEASES, Place
from tests.services import Service


@pytest.fixture(params=[2, 3])
def played(request: pytest.FixtureRequest, shared_influxd: Service) -> Iterator[Administered]:
    with Administered(shared_influxd.url, request.param) as server:
        server.two.is_new = False
        server.two.kept["orgs"] = [{"id": "o", "name": "city"}]
        server.two.kept["buckets"] = [{"id": "b", "name": "theirs", "retentionRules": []}]
        server.tokens = {"secret"}
        yield server


@pytest.fixture
def named(played: Administered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The major version of a server that the environment names by its URL."""
    release = RELEASES[played.major - 1]
    (tmp_path / "secret").write_text("secret\n")
    monkeypatch.delenv(release.variable, raising=False)
    monkeypatch.setenv(f"{release.variable}_URL", played.url + "/")
    monkeypatch.setenv(f"{release.variable}_TOKEN_FILE", str(tmp_path / "secret"))
    return played.major


def there(played: Administered) -> set[str]:
    return set(played.buckets if played.major == 2 else played.three.kept)


def test_a_place_is_made_by_init_and_removed_with_all_that_is_its_own(
    named: int, played: Administered, tmp_path: Path
) -> None:
    before = there(played)
    (tmp_path / "given").mkdir()

    def use(place: Place) -> None:
        init(tmp_path, place)
        assert there(played) == before | set(place.names)
        place.put("depth,gateway=g value=1.5,quality=1i 1")
        found = place.ask("SELECT value FROM depth")["results"][0]["series"][0]["values"]
        assert [value for _, value in found] == [1.5]
        raise ZeroDivisionError  # as a test that fails

    with influxservers.given(tmp_path / "given", tmp_path / "room") as servers:
        with pytest.raises(ZeroDivisionError), servers[named].place() as place:
            use(place)
        assert there(played) == before


def test_a_server_of_another_kind_and_two_organisations_are_one_line(
    named: int, played: Administered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, right = RELEASES[{2: 3, 3: 2}[named] - 1], RELEASES[named - 1]
    url = f"{wrong.variable}_URL"
    monkeypatch.delenv(wrong.variable, raising=False)
    monkeypatch.setenv(url, played.url)
    with pytest.raises(pytest.fail.Exception, match=f"{url} is not InfluxDB {wrong.major}.x"):
        influxservers.running(wrong, tmp_path, tmp_path / "room")
    if named == 2:
        played.two.kept["orgs"].append({"id": "p", "name": "province"})
        with pytest.raises(pytest.fail.Exception, match="_ORG must name one of the 2"):
            influxservers.running(right, tmp_path, tmp_path / "room")
        monkeypatch.setenv(f"{right.variable}_ORG", "province")
        assert influxservers.running(right, tmp_path, tmp_path / "room").org == "province"
