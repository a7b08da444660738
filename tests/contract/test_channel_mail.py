"""What is peculiar to mail; what is common to all channels is in test_channels.py."""

import asyncio
import email.policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.channels import email as mails
from cloud.channels import mailpage
from cloud.errors import Rejected, Unavailable
from configs.loader import ConfigError
from tests.contract.board_and_mail import email_endpoint
from tests.contract.telling import message, opened, parsed
from tests.examples import examples
from tests.services import Service
from tests.waiting import until

MAIL: dict[str, Any] = {"host": "mail.example", "sender": "alerts@water.example"}


def letter(**changes: Any) -> EmailMessage:
    config = parsed("email", MAIL)
    assert isinstance(config, mails.Config)
    return mails.mail(message(**{"to": "zhang@example.org"} | changes), config)


def test_a_mail_is_the_same_whenever_it_is_made() -> None:
    assert letter().as_bytes() == letter().as_bytes()
    assert letter()["Message-ID"] != letter(key="2")["Message-ID"]
    assert letter()["References"] == letter(key="2")["References"]
    read = email.message_from_bytes(letter().as_bytes(), policy=email.policy.default)
    assert read["Subject"] == message().title
    assert read["To"] == "张 “三” <zhang@example.org>"
    text, page = read.iter_parts()
    said = text.get_content().splitlines()
    asked = ["查看并应答:", message().link, "", "请勿回复本邮件，回复无人查看。"]
    assert said == [*message().text.split("\n"), "", *asked]
    assert '<a href="https://alerts.example/a?t=1&amp;u=2"' in page.get_content()
    assert letter(level="red")["Importance"] == "high"
    assert letter(level="blue")["Importance"] is None


@examples(60)
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=120),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=40),
)
def test_every_title_is_the_subject_and_no_name_changes_the_address(title: str, name: str) -> None:
    raw = letter(title=title, name=name).as_bytes()
    read = email.message_from_bytes(raw, policy=email.policy.default)
    assert read["Subject"] == title
    assert read["To"].addresses[0].addr_spec == "zhang@example.org"
    assert max(map(len, raw.split(b"\r\n"))) < 998  # RFC 5322, 2.1.1


@pytest.mark.parametrize("to", ["zhang", "a@b\r\nBcc: c@d", "a@b, c@d", "@x", "<a@b>"])
def test_what_is_no_mailbox_gets_no_mail(to: str) -> None:
    with pytest.raises(Rejected, match="no mailbox"):
        letter(to=to)


def test_a_title_of_two_lines_is_one_subject() -> None:
    assert letter(title="a\r\nBcc: c@d")["Subject"] == "a Bcc: c@d"
    assert letter(title="a\r\nBcc: c@d")["Bcc"] is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"username": "a"}, "username and password_file go together"),
        ({"username": "a", "password_file": "p", "tls": "none"}, "not sent without TLS"),
        ({"sender": "alerts"}, "is no mailbox"),
    ],
)
def test_a_mail_channel_that_would_leak_or_fail_is_refused(
    changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        parsed("email", MAIL | changes)


async def test_mail_over_tls_from_the_first_byte(tmp_path: Path, shared_mosquitto: Service) -> None:
    async with email_endpoint(tmp_path, shared_mosquitto, "tls") as end:
        async with opened("email", tmp_path, end.config) as channel:
            receipt = await channel.send(message(to=end.to))
        assert receipt.provider_id == end.arrived[0].key
        assert "queued as 1 for ***" in receipt.detail


async def test_a_server_is_told_goodbye_and_not_waited_for(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).strip():
            heard.append(line)
            if line == b"DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            if line != b"QUIT":  # to which it never answers
                writer.write(b"250 yes\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        config = MAIL | {
            "host": "127.0.0.1",
            "port": server.sockets[0].getsockname()[1],
            "tls": "none",
            "timeout_s": 10,
        }
        async with opened("email", tmp_path, config) as channel:
            await channel.send(message(to="zhang@example.org"))
        await until(lambda: heard[-1] == b"QUIT")


async def test_no_password_goes_over_a_line_without_tls(
    tmp_path: Path, shared_mosquitto: Service
) -> None:
    async with email_endpoint(tmp_path, shared_mosquitto, "stripped") as end:
        async with opened("email", tmp_path, end.config) as channel:
            with pytest.raises(Rejected, match="STARTTLS"):
                await channel.send(message(to=end.to))
        assert not end.logins
        assert not end.arrived


async def test_mail_goes_to_nobody_whose_certificate_is_not_known(
    tmp_path: Path, shared_mosquitto: Service
) -> None:
    async with email_endpoint(tmp_path, shared_mosquitto) as end:
        config = {key: value for key, value in end.config.items() if key != "ca_file"}
        async with opened("email", tmp_path, config) as channel:
            with pytest.raises(Unavailable, match="certificate"):
                await channel.send(message(to=end.to))
        assert not end.arrived


class Tags(HTMLParser):
    """What a page consists of, as a browser reads it."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "background", "action", "srcset") or name.startswith("on"):
                self.links.append(f"{tag} {name} {value}")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page(**changes: Any) -> Tags:
    _, found = letter(**changes).iter_parts()
    return Tags(found.get_content())


PLAIN_TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "table",
    "tr",
    "td",
    "a",
    "br",
    "span",
}


def test_the_order_and_the_value_stand_above_the_one_button() -> None:
    link = "https://flood.example/a/x1"
    text = f"请何岚立即封闭道路。\n积水约35厘米，仍在上涨（19:46）。\n请在19:51前应答。\n{link}"
    found = page(text=text, link=link)
    words = [one.strip() for one in found.words if one.strip()]
    places = [
        words.index(one)
        for one in ("请何岚立即封闭道路。", "积水约35厘米，仍在上涨（19:46）。", "查看并应答", link)
    ]
    assert places == sorted(places)
    assert found.links == [f"a href {link}"]
    assert page(text="Close it.", language="en", link=link).words.count("Open and answer") == 1


def test_the_colour_is_that_of_the_level_and_the_end_is_not_red() -> None:
    red, over = "#b3261e", "#0b6b34"
    assert f'bgcolor="{red}"' in mailpage.page(message())
    ended = mailpage.page(message(kind="clear", link=None))
    assert red not in ended
    assert f'bgcolor="{over}"' in ended
    assert "prefers-color-scheme:dark" in ended


def test_news_have_no_button_and_a_link_that_is_none_makes_none() -> None:
    for link in (None, "javascript:alert(1)", "data:text/html,x"):
        found = page(link=link)
        assert found.links == []
        assert "a" not in found.tags


@examples(60)
@given(
    st.text(max_size=80),
    st.text(max_size=200),
    st.sampled_from([None, "https://a.example/a/x", 'https://a.example/"><img src=x>']),
    st.sampled_from([None, "red", "orange", "yellow", "blue", "purple"]),
)
def test_nothing_in_a_message_becomes_part_of_the_page(
    title: str, text: str, link: str | None, level: str | None
) -> None:
    told = message(
        title=f"<b>{title}", text=f"{text}<img src=//e.example>&", link=link, level=level
    )
    found = Tags(mailpage.page(told))
    assert set(found.tags) <= PLAIN_TAGS
    assert found.links == ([] if link is None else [f"a href {link}"])
    assert f"<b>{title}".strip() in "".join(found.words)
