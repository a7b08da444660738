"""SMS through Tencent Cloud (腾讯云短信), with its SDK: `pip install 'shuichi[tencent]'`.

Source: Tencent Cloud's pages on SendSms (API 2021-01-11) and on error codes. The answer has a code
for each number, and only "Ok" means that the SMS was taken; an answer without an error may still
have refused the number. Texts must fit a template that was approved: `template_id` is its number,
`params` fill it in.
UNCERTAIN: how long a parameter may be, which depends on the template's kind.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import httpx
from pydantic import Field, model_validator

from cloud.channels import Channel, ChannelConfig, Message, Receipt
from cloud.channels.gateway import SHOWING, filled, named, values_of
from cloud.errors import Rejected, Unavailable
from cloud.http import FAILURES, Url, secret, unavailable
from configs.loader import suggest

NEVER: Final = (
    *("AuthFailure", "FailedOperation", "InvalidParameter", "MissingParameter", "InvalidRequest"),
    *("UnauthorizedOperation", "UnsupportedOperation", "UnsupportedRegion", "InvalidAction"),
    *("NoSuch", "IpInBlacklist", "IpNotInWhitelist", "LimitExceeded.PhoneNumberDailyLimit"),
)
"""Beginnings of the codes of what will never be taken. Beside them are limits and inner errors."""


class Config(ChannelConfig):
    """`[channel.<name>]` with `kind = "tencent"`. `secret_file`: the SecretKey that goes with
    `secret_id`; `never`: beginnings of the codes of what will never be taken."""

    kind: Literal["tencent"]
    url: Url = "https://sms.tencentcloudapi.com"
    region: str = "ap-guangzhou"
    secret_id: Annotated[str, Field(min_length=1)]
    secret_file: str
    app_id: Annotated[str, Field(min_length=1)]
    template_id: Annotated[str, Field(min_length=1)]
    sign_name: str
    params: tuple[str, ...] = ("{text}",)
    never: tuple[str, ...] = NEVER

    @model_validator(mode="after")
    def _templates_can_be_filled(self) -> Self:
        known = {"name", "title", "text", "code", "reply", "link", "level", "incident", "site"}
        shown = set(named(list(self.params)))
        for name in shown - known:
            raise ValueError(f"{{{name}}} stands for nothing{suggest(name, known)}")
        if not shown & SHOWING:
            raise ValueError("params show no {text} or {title}: nobody would see what is told")
        return self


@asynccontextmanager
async def open(config: Config, folder: Path) -> AsyncIterator[Channel]:
    """The channel to Tencent Cloud; nobody is called yet. Raises Unavailable for a secret that
    cannot be read, or without the SDK."""
    try:
        from tencentcloud.common.credential import Credential
        from tencentcloud.common.profile.client_profile import ClientProfile
        from tencentcloud.common.profile.http_profile import HttpProfile
        from tencentcloud.sms.v20210111.sms_client_async import SmsClient
    except ImportError:
        raise Unavailable(
            "kind = 'tencent' needs Tencent Cloud's SDK: pip install 'shuichi[tencent]'"
        ) from None
    # At DEBUG it logs every number, text and answer.
    logging.getLogger("tencentcloud_sdk_common").setLevel(logging.WARNING)
    url = httpx.URL(config.url)
    line = HttpProfile(
        protocol=url.scheme, endpoint=url.netloc.decode(), reqTimeout=config.timeout_s
    )
    credential = Credential(config.secret_id, secret(folder, config.secret_file))
    async with SmsClient(credential, config.region, ClientProfile(httpProfile=line)) as client:
        yield _Tencent(client, config)


class _Tencent:
    def __init__(self, client: Any, config: Config) -> None:  # the SDK has no types
        self._client = client
        self._config = config

    async def send(self, message: Message) -> Receipt:
        from tencentcloud.common.exception import TencentCloudSDKException
        from tencentcloud.sms.v20210111.models import SendSmsRequest

        values = values_of(message, None)
        request = SendSmsRequest()
        request.PhoneNumberSet = [values["to"]]
        request.SmsSdkAppId = self._config.app_id
        request.TemplateId = self._config.template_id
        request.SignName = self._config.sign_name
        request.TemplateParamSet = [filled(one, values) for one in self._config.params]
        request.SessionContext = message.key  # comes back in reports
        try:
            answer = await self._client.SendSms(request)
            (status,) = answer.SendStatusSet
        except TencentCloudSDKException as error:
            raise self._no(str(error.code), str(error.message)) from None
        except FAILURES as error:
            raise unavailable(httpx.URL(self._config.url), error) from error
        except (ValueError, KeyError, TypeError):  # what the SDK makes of other answers
            raise Unavailable("the answer is not one of Tencent Cloud's", unsure=True) from None
        if status.Code != "Ok":
            raise self._no(str(status.Code), str(status.Message))
        return Receipt(status.SerialNo, status.Message)

    def _no(self, code: str, words: str) -> Rejected | Unavailable:
        final = code.startswith(self._config.never)
        return (Rejected if final else Unavailable)(f"Tencent Cloud says {code}: {words}")
