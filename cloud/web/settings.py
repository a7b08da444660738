"""`[web]` and `[hook.<name>]` of `cloud.toml`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.loader import Model
from wire.topics import NAME_PATTERN

Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]


class Token(Model):
    """`[web.token.<name>]`: the token of one program, in a file (or `env:NAME`). What it does is
    recorded under its name, and it can be taken from it alone."""

    token_file: Text


class Web(Model):
    """Where we listen; a reverse proxy with TLS belongs before it. `token_file` (or `env:NAME`)
    has a token of the API, `token` those of single programs; without any the API is closed.
    `calendar_token_file` has a word that stands in the addresses of duty as a calendar."""

    host: Text = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    token_file: Text | None = None
    token: dict[Name, Token] = {}
    calendar_token_file: Text | None = None


class Hook(Model):
    """Replies that a provider of SMS or calls passes on to `/hooks/<name>`.

    `sender`, `text` and `message_id` say where they stand in the body: a field of a form, or the
    keys to it in JSON, joined by dots; `key` where the key of our message does, if the provider
    gives it back: then the number need not tell which call it was. The request must carry the
    secret of `secret_file` (or `env:NAME`) in `secret_header`; with `signed`, that header has the
    HMAC-SHA256 of the body by it, in hex.
    A body that was overheard can be sent again: one with the same message id counts once, and one
    whose `time` (where it says when it was sent: seconds or milliseconds since 1970, or ISO 8601)
    is more than `time_within_s` off does not count.
    `yes` and `no` are keys and words that mean so where no answer code is said; `no` also beside a
    code. `success` is what the provider wants to hear.
    """

    format: Literal["json", "form"] = "json"
    sender: Text = "from"
    text: Text = "text"
    message_id: Text | None = None
    key: Text | None = None
    time: Text | None = None
    time_within_s: Annotated[float, Field(gt=0, le=86_400)] = 300
    secret_file: Text
    secret_header: Text = "X-Shuichi-Secret"
    signed: bool = False
    yes: tuple[Text, ...] = ("1", "收到", "yes")
    no: tuple[Text, ...] = ("9", "无法", "no")
    success: str = "ok"
    success_type: Text = "text/plain; charset=utf-8"

    @model_validator(mode="after")
    def _tells_yes_from_no(self) -> Self:
        if both := set(self.yes) & set(self.no):
            raise ValueError(f"{', '.join(sorted(both))} means yes and no")
        return self
