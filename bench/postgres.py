"""A PostgreSQL of one's own, for figures and tests: on a free port, as a user who may run it."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from configs.loader import UserError

USER: Final = "shuichi"
"""Superuser of the cluster."""

_SYSTEM_USER: Final = "postgres"


class Cluster(NamedTuple):
    """What `command` runs, the folder that it keeps, and the file with the superuser's password."""

    command: Sequence[str]
    data: Path
    password_file: Path

    def remove(self) -> None:
        """Once it has ended: what lies outside the folder that was given."""
        shutil.rmtree(self.data)


def cluster(folder: Path, port: int, *settings: str) -> Cluster:
    """A new one; `settings` are more of `name=value`. Raises UserError if there is no PostgreSQL on
    this machine, or where it cannot be made."""
    # Debian keeps its programs out of every PATH, in a folder for each version.
    places = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    path = os.pathsep.join((os.environ.get("PATH", ""), *places))
    initdb, server = (shutil.which(name, path=path) for name in ("initdb", "postgres"))
    if initdb is None or server is None:
        raise UserError("PostgreSQL is not installed: apt-get install postgresql")
    data, before = folder / "data", list[str]()
    if os.geteuid() == 0:  # who may not run it; and its user may not enter every folder of ours
        data = Path(tempfile.mkdtemp(prefix="shuichi-postgres-"))
        shutil.chown(data, _SYSTEM_USER, pwd.getpwnam(_SYSTEM_USER).pw_gid)
        ids = (f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--clear-groups")
        before = ["env", "--chdir=/", "setpriv", *ids]
    password_file = folder / "password"
    password_file.write_text("water level\n", encoding="utf-8")
    with password_file.open() as password:
        made = subprocess.run(
            [
                *(*before, initdb, "-D", str(data), "-U", USER, "--no-sync"),
                *("--encoding=UTF8", "--locale=C.UTF-8"),
                *("--auth=scram-sha-256", "--pwfile=/dev/stdin"),
            ],
            stdin=password,
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode:
        raise UserError(f"initdb: {made.stderr.strip().splitlines()[-1]}")
    given = (f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", *settings)
    options = [word for setting in given for word in ("-c", setting)]
    return Cluster([*before, server, "-D", str(data), *options], data, password_file)
