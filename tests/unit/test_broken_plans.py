"""Whatever stands where the plan should be: it is said in a line, and nothing waits for it."""

import os
import threading
from pathlib import Path

import pytest

from cloud.alerts import plan
from configs import loader
from configs.loader import ConfigError

GOOD = (loader.HERE / "plans" / "example-city.toml").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        bytes(range(256)) * 20,
        GOOD.decode().encode("utf-16"),
        GOOD.decode().encode("gb18030"),
        GOOD[: len(GOOD) // 2],
        GOOD + GOOD,
        b"a = " + b"[" * 100_000,
        b"a = " + b"{a=" * 50_000,
        b"a" + b".a" * 100_000 + b" = 1",
        b"[a" + b" . a" * 100_000 + b"]",
        b"a = {x" + b".'y'" * 100_000 + b" = 1}",
        b"title = " + b"9" * 10_000,
        b"# " + b"x" * (loader.MOST_BYTES + 1),
    ],
    ids=range(14),
)
def test_what_is_no_plan_is_refused_with_a_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "plan.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        plan.read(file)
    assert all(len(line) < 1000 for line in str(caught.value).splitlines())


def places(folder: Path) -> dict[str, Path]:
    """Paths at which there is no plan."""
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    (folder / "to-pipe").symlink_to(folder / "pipe")
    return {
        "none": folder / "none",
        "folder": folder,
        "loop": folder / "loop",
        "pipe": folder / "pipe",
        "link to a pipe": folder / "to-pipe",
        "below a file": folder / "pipe" / "plan.toml",
        "too long": folder / ("x" * 300),
        "null": Path(f"{folder}/a\0b"),
        "endless": Path("/dev/zero"),
        "nothing": Path(os.devnull),
    }


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    for name, path in places(tmp_path).items():
        with pytest.raises(ConfigError):
            plan.read(path)
        assert name


def test_a_pipe_that_somebody_holds_open_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(ConfigError, match="is a pipe"):
            plan.read(path)
    finally:
        os.close(writer)


def test_other_configs_may_be_piped(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # so that the writer need not wait
    writer = os.open(path, os.O_WRONLY)
    text = b"[a]\nb = 1\n" * 1 + b"".join(b"c%d = 1\n" % n for n in range(20_000))

    def write() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(text)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert len(loader.read(path)["a"]) == 20_001
    finally:
        os.close(reader)
        thread.join()


def test_a_plan_of_ten_thousand_people_is_no_plan_too_large(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_bytes(GOOD + b"# a person is 200 bytes" * 90_000)
    assert plan.read(file).title
