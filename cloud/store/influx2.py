"""Setting up InfluxDB 2.x over influxdb-client: organisation, and buckets with retention.

After the API reference of InfluxDB 2.7 and what 2.9.1 was seen to answer. Everything is looked for
before it is made, and what the token may not look at is not made. The client blocks: call it in a
thread.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from cloud import tls
from cloud.errors import Unavailable
from cloud.store import DAY_MS, Bucket, StoreConfig
from cloud.store.rollup_influx import server_days
from cloud.tls import NO_FILES, Files
from configs.text import clean

if TYPE_CHECKING:  # it takes half a second, which nobody else should pay
    from influxdb_client.client.influxdb_client import InfluxDBClient

_T = TypeVar("_T")

DAY_S: Final = DAY_MS // 1000
_DENIED: Final = (401, 403)
_NOT_FOUND: Final = 404

_MOST_WORDS: Final = 300
"""Characters of what a server, or a library, says."""


class First(NamedTuple):
    """What the first user of a new server is made with."""

    username: str | None
    password: str | None


def bucket_name(bucket: str, width: Bucket) -> str:
    """Where the rollups of `bucket` go. InfluxQL of 2.x finds a bucket "db/rp" as the retention
    policy `rp` of the database `db` by itself, so that they are asked for as in 1.x."""
    return f"{bucket}/{width.level}"


def places(bucket: str, config: StoreConfig) -> dict[str, int | None]:
    """Buckets (2.x) or databases (3.x) of readings and rollups, and how many days each keeps."""
    days = server_days(config)
    rollups = {bucket_name(bucket, width): days[width.level] for width in config.days.buckets}
    return {bucket: days["raw"]} | rollups


def task_names(bucket: str) -> list[str]:
    """The tasks that release 0.1 made, in which the server kept rollups."""
    names = [bucket_name(bucket, width) for width in (Bucket.MINUTE, Bucket.HOUR)]
    return [*names, *(f"{name} late" for name in names)]


class Setup:
    """What `shuichi cloud init` does at an InfluxDB 2.x, which is called `place`. Raises
    Unavailable."""

    def __init__(
        self, client: "InfluxDBClient", place: str, bucket: str, org: str, files: Files = NO_FILES
    ) -> None:
        self._client = client
        self._place = place
        self._bucket = bucket
        self._org = org
        self._files = files

    def first(self, one: First) -> str:
        """Make the first user and organisation of a new server, with our token as its token."""
        with self._understood():
            return self._first(one)

    def _first(self, one: First) -> str:
        from influxdb_client import OnboardingRequest, SetupService

        service = SetupService(self._client.api_client)
        if not self._asked(service.get_setup).allowed:
            return "the server is set up already"
        token = self._client.token
        if not (one.username and one.password and token):
            raise Unavailable(
                f"{self._place} is new: [store] needs username, password_file and "
                "token_file, with which its first user is made"
            )
        request = OnboardingRequest(
            username=one.username,
            password=one.password,
            org=self._org,
            bucket=self._bucket,
            token=token,
        )
        self._asked(lambda: service.post_setup(request))
        return f"made the user {one.username}, the organisation {self._org}, and the token"

    def rest(self, config: StoreConfig) -> list[str]:
        """Organisation and buckets; tasks of an earlier release are removed."""
        with self._understood():
            return self._rest(config)

    def _rest(self, config: StoreConfig) -> list[str]:
        org_id, line = self._organisation()
        lines = [line]
        missing = []
        for name, days in places(self._bucket, config).items():
            if (done := self._bucket_line(org_id, name, days)) is not None:
                lines.append(done)
            else:
                missing.append(
                    f"  influx bucket create -o {self._org} -n {name} -r {_duration(days)}"
                )
        if org_id is not None:
            lines += self._remove_tasks(org_id)
        if missing:
            lines.append("this token may not make or see the rest; an administrator runs:")
        return lines + missing

    def _organisation(self) -> tuple[str | None, str]:
        """Its id, None where the token may neither see nor make it."""
        api = self._client.organizations_api()
        found: list[Any] | None = self._may(lambda: api.find_organizations(org=self._org) or [], [])
        if found:
            return str(found[0].id), f"organisation {self._org}: is there"
        if found is not None:
            made = self._may(lambda: api.create_organization(name=self._org))
            if made is not None:
                return str(made.id), f"organisation {self._org}: made"
        return None, f"organisation {self._org}: this token may not look at it"

    def _bucket_line(self, org_id: str | None, name: str, days: int | None) -> str | None:
        """Make a bucket, or bring it up to the config; None where the token may not."""
        from influxdb_client import BucketRetentionRules, PostBucketRequest

        rule = BucketRetentionRules(type="expire", every_seconds=(days or 0) * DAY_S)
        kept = "for ever" if days is None else f"{days} days"
        api = self._client.buckets_api()
        whose = {"org": self._org} if org_id is None else {"org_id": org_id}
        found: list[Any] | None = self._may(
            lambda: api.find_buckets(name=name, **whose).buckets, []
        )
        if not found:
            if org_id is None:
                return None
            new = PostBucketRequest(org_id=org_id, name=name, retention_rules=[rule])
            made = self._may(lambda: api.create_bucket(bucket=new))
            return None if made is None else f"bucket {name}: made, keeps {kept}"
        there = found[0]
        has = there.retention_rules[0].every_seconds if there.retention_rules else 0
        if has == rule.every_seconds:
            return f"bucket {name}: is there, keeps {kept}"
        there.retention_rules = [rule]
        if self._may(lambda: api.update_bucket(there)) is None:
            now = f"{has / DAY_S:g} days" if has else "for ever"
            return (
                f"bucket {name}: is there, keeps {now}; this token may not change it to {kept}: "
                f"influx bucket update -i {there.id} -r {_duration(days)}"
            )
        return f"bucket {name}: now keeps {kept}"

    def _remove_tasks(self, org_id: str) -> Iterator[str]:
        api = self._client.tasks_api()
        for name in task_names(self._bucket):
            asked = partial(api.find_tasks, name=name, org_id=org_id)
            found: list[Any] = self._may(asked, []) or []
            for one in found:
                if self._may(partial(self._deleted, api, one.id)) is None:
                    yield (
                        f"task {name}: this token may not remove it, and it loads the server: "
                        f"influx task delete -i {one.id}"
                    )
                else:
                    yield f"task {name}: removed, the cloud keeps rollups itself"

    @staticmethod
    def _deleted(api: Any, task_id: str) -> bool:
        api.delete_task(task_id)
        return True

    def _may(self, work: Callable[[], _T], nothing: _T | None = None) -> _T | None:
        """The answer to a request; None where the token may not ask it, `nothing` where what it
        asks for is not there."""
        from influxdb_client.rest import ApiException

        try:
            return self._asked(work)
        except _Refused as refused:
            error: ApiException = refused.error
            if error.status in _DENIED:
                return None
            if error.status == _NOT_FOUND and nothing is not None:
                return nothing
            raise

    def _asked(self, work: Callable[[], _T]) -> _T:
        from influxdb_client.rest import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return work()
        except ApiException as error:
            if error.status:
                raise _Refused(self._place, error) from error
            raise self._unreached(error, str(error.reason)) from error  # TLS has failed
        except HTTPError as error:
            raise self._unreached(error, str(error)) from error

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """An answer that is none of an InfluxDB's, such as the page of a proxy: the library makes
        anything of it, or fails over it anywhere."""
        try:
            yield
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            why = f"it answers as no InfluxDB 2.x does ({type(error).__name__})"
            raise Unavailable(f"{self._place}: {why}; is it a proxy?") from error

    def _unreached(self, error: Exception, said: str) -> Unavailable:
        why = tls.words(error, self._files) or clean(said, _MOST_WORDS)
        return Unavailable(f"{self._place} cannot be reached: {why}")


class _Refused(Unavailable):
    """The server answers, and refuses."""

    def __init__(self, url: str, error: Any) -> None:
        words = clean(" ".join(str(error.message or error.reason).split()), _MOST_WORDS)
        super().__init__(f"{url} says {error.status}: {words}")
        self.error = error


@contextmanager
def administered(
    url: str, token: str | None, org: str, timeout_s: float, files: Files = NO_FILES
) -> "Iterator[InfluxDBClient]":
    """A client for `Setup`. Raises Unavailable for certificate files that cannot be used."""
    from influxdb_client.client.influxdb_client import InfluxDBClient
    from urllib3 import Retry

    with InfluxDBClient(
        url.rstrip("/"),
        token or "",
        org=org,
        timeout=int(timeout_s * 1000),
        ssl_context=files.context(),
        retries=Retry(3, redirect=False),  # what is made elsewhere is not made here
    ) as client:
        yield client


def _duration(days: int | None) -> str:
    return "0" if days is None else f"{days * 24}h"
