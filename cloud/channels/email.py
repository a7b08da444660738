"""Mail, by SMTP (RFC 5321) over TLS: STARTTLS (RFC 3207) or TLS from the first byte (RFC 8314).

The mail for a message is the same to the last byte however often it is handed over, with a
Message-ID made from the message's key: a mailbox that sees it twice knows it.
"""

import asyncio
import email.policy
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import aiosmtplib
from pydantic import AfterValidator, Field, model_validator

from cloud.channels import Channel, ChannelConfig, Message, Receipt, address, mailpage
from cloud.errors import Rejected, Unavailable
from cloud.http import secret

URGENT: Final = ("orange", "red")


def _is_mailbox(text: str) -> str:
    try:
        mailbox = Address(addr_spec=text)
    except (ValueError, IndexError, MessageError):  # the parser's ways to say no
        mailbox = None
    if mailbox is None or not (mailbox.username and mailbox.domain):
        raise ValueError(f"{text!r} is no mailbox such as name@example.org")
    return text


Mailbox = Annotated[str, AfterValidator(_is_mailbox)]


class Config(ChannelConfig):
    """`[channel.<name>]` with `kind = "email"`. `ca_file`: who signed the server's certificate,
    if the system does not know it."""

    kind: Literal["email"]
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: str | None = None
    username: str | None = None
    password_file: str | None = None
    sender: Mailbox
    sender_name: str = ""
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 20

    def certificates(self) -> list[str]:
        return [self.ca_file] if self.ca_file else []

    @model_validator(mode="after")
    def _keeps_the_password_to_itself(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together")
        if self.username is not None and self.tls == "none":
            raise ValueError("a password is not sent without TLS: tls = 'starttls' or 'tls'")
        return self


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel through `config.host`; nobody is called yet. Raises Unavailable for a password
    or a certificate that cannot be read."""
    password = secret(folder, config.password_file)
    try:
        tls = ssl.create_default_context(
            cafile=None if config.ca_file is None else str(folder / config.ca_file)
        )
    except OSError as error:  # ssl.SSLError is one
        raise Unavailable(f"{config.ca_file}: {_reason(error)}") from error
    yield _Email(config, password, tls)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"ca_file holds no certificate that can be used ({error.reason or error})"
    return f"ca_file cannot be read: {error.strerror}"


def mail(message: Message, config: Config) -> EmailMessage:
    """`message` as a mail: plain text, and the same as a page with a button. Raises Rejected where
    it can not be one."""
    try:
        return _mail(message, _is_mailbox(address(message, "mailbox")), config)
    except ValueError as error:
        raise Rejected(str(error)) from None


def _mail(message: Message, mailbox: str, config: Config) -> EmailMessage:
    key = hashlib.sha256(message.key.encode()).hexdigest()[:40]
    domain = config.sender.rpartition("@")[2]
    letter = EmailMessage(email.policy.SMTP)
    letter["Message-ID"] = f"<{key}@{domain}>"
    letter["Date"] = format_datetime(datetime.fromtimestamp(message.at_ms // 1000, UTC))
    letter["From"] = Address(config.sender_name, addr_spec=config.sender)
    letter["To"] = Address(message.name, addr_spec=mailbox)
    letter["Subject"] = " ".join(message.title.split())
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    if message.level in URGENT:
        letter["Importance"] = "high"
    if message.incident:  # keeps the mails of an incident together
        thread = hashlib.sha256(message.incident.encode()).hexdigest()[:40]
        letter["References"] = f"<incident-{thread}@{domain}>"
    parts = [message.text_without_link, mailpage.NO_REPLY[message.language]]
    if message.link:
        parts.insert(1, f"{mailpage.BUTTON[message.language]}:\n{message.link}")
    letter.set_content("\n\n".join(parts) + "\n")
    letter.add_alternative(mailpage.page(message), subtype="html")
    letter.set_boundary(f"shuichi-{key}")
    return letter


class _Email:
    def __init__(self, config: Config, password: str | None, tls: ssl.SSLContext) -> None:
        self._config = config
        self._password = password
        self._tls = tls

    async def send(self, message: Message) -> Receipt:
        letter = mail(message, self._config)
        server = aiosmtplib.SMTP(
            hostname=self._config.host,
            port=self._config.port,
            username=self._config.username,
            password=self._password,
            use_tls=self._config.tls == "tls",
            start_tls=self._config.tls == "starttls",
            tls_context=self._tls,
            timeout=self._config.timeout_s,
        )
        try:
            await server.connect()
            _, said = await server.send_message(letter)
            # RFC 5321, 4.1.1.10, but for the answer: who has taken a mail must not let us doubt it.
            if isinstance(server.transport, asyncio.WriteTransport):
                server.transport.write(b"QUIT\r\n")
        except (aiosmtplib.SMTPException, OSError) as error:
            raise self._ours(error) from error
        finally:
            server.close()
        return Receipt(letter["Message-ID"], said)

    def _ours(self, error: aiosmtplib.SMTPException | OSError) -> Rejected | Unavailable:
        server = f"{self._config.host}:{self._config.port}"
        match error:
            case aiosmtplib.SMTPRecipientsRefused():
                return self._ours(error.recipients[0])
            case ssl.SSLCertVerificationError():  # nothing of the mail was sent
                return Unavailable(f"{server} cannot be used: {error}")
            case aiosmtplib.SMTPConnectError():
                return Unavailable(f"{server} cannot be reached: {error.message}")
            case aiosmtplib.SMTPServerDisconnected():
                return Unavailable(f"{server} cannot be reached: {error.message}", unsure=True)
            case aiosmtplib.SMTPTimeoutError() | ssl.SSLError():
                return Unavailable(f"{server} cannot be used: {error}", unsure=True)
            case aiosmtplib.SMTPResponseException():
                final = 500 <= error.code < 600  # RFC 5321, 4.2.1
                words = f"{server} says {error.code}: {error.message}"
                return Rejected(words) if final else Unavailable(words)
            case aiosmtplib.SMTPException():
                return Rejected(f"{server}: {error.message}")  # it cannot do what we must ask for
        return Unavailable(f"{server} cannot be reached: {error}", unsure=True)
