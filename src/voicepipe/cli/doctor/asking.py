"""Asks a service whether calls could be held with it.

Rule 1: no answer holds a key. What a service quotes in a refusal is kept without it, and a token is not read.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.errors import AuthenticationError, ConfigurationError, VendorError, VoicepipeError
from voicepipe.http.client import HTTPClient
from voicepipe.http.refusals import failure
from voicepipe.vendors.credentials import authorization, without_key

if TYPE_CHECKING:
    from pydantic import SecretStr

    from voicepipe.cli.doctor.services import Service
    from voicepipe.http.response import HTTPResponse

__all__ = ["Answer", "Key", "ask"]

ANSWER_S: Final = 5.0
"""How long a service may take to answer, and to send what it answers; before that, connecting may take 2 s."""

BODY_BYTES: Final = 1 << 20
"""How much of a list of models is read."""


class Key(Enum):
    """What is known about the key of a service."""

    UNNEEDED = auto()
    MISSING = auto()
    UNUSABLE = auto()
    """No header can carry it."""
    UNKNOWN = auto()
    """It is there, and the service did not say whether it accepts it."""
    ACCEPTED = auto()
    REFUSED = auto()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a service answered.

    Attributes:
        service: Which one was asked.
        key: What is known about its key.
        key_error: Why the key cannot be used.
        error: What is wrong with the service, or the way to it.
        status: The HTTP status; 0 without an answer.
        first_s: Seconds until the answer came, with connecting.
        again_s: The same over the connection that was there then; `first_s` if it was not asked again.
        date: The service's own time, as HTTP writes it; "" if it says none.
        models: The models that it lists; None if it lists none.
    """

    service: Service
    key: Key
    key_error: VoicepipeError | None = None
    error: VoicepipeError | None = None
    status: int = 0
    first_s: float = math.inf
    again_s: float = math.inf
    date: str = ""
    models: tuple[str, ...] | None = None


async def ask(service: Service) -> Answer:
    """Ask a service, and once more if the first answer is good: then the way to it is known, and its length counts."""
    key, answer = _with_key(service)
    client = _client(service, key)
    try:
        async with client.open():
            answer = await _ask_once(client, answer)
            if answer.status == 200:
                again = await _ask_once(client, answer)
                answer = replace(again, first_s=answer.first_s)
    except (VendorError, ConfigurationError) as error:
        return replace(answer, error=error)
    return answer


def _with_key(service: Service) -> tuple[SecretStr | None, Answer]:
    """Return the key, None if there is none that could be sent, and what is known before the service is asked."""
    try:
        key = service.credentials.read()
    except AuthenticationError as error:
        return None, Answer(service=service, key=Key.MISSING, key_error=error)
    except ConfigurationError as error:
        return None, Answer(service=service, key=Key.UNUSABLE, key_error=error)
    return key, Answer(service=service, key=Key.UNKNOWN if key.get_secret_value() else Key.UNNEEDED)


def _client(service: Service, key: SecretStr | None) -> HTTPClient:
    extras, sent = service.extras, dict[str, str]()
    if key is not None and service.header:
        sent = authorization(key, service.scheme, service.header)

    def hide(text: str) -> str:
        text = text if key is None else without_key(text, key)
        return extras.hidden(text) if extras else text

    return HTTPClient(
        service.base_url,
        {**sent, **(extras.headers if extras else {})},
        hide,
        params=extras.params if extras else None,
        network=service.network,
    )


async def _ask_once(client: HTTPClient, before: Answer) -> Answer:
    began_s = anyio.current_time()
    async with client.get(before.service.path, limit_s=ANSWER_S) as response:
        took_s = anyio.current_time() - began_s
        date = response.header("date") or ""
        answer = replace(before, status=response.status, first_s=took_s, again_s=took_s, date=date)
        if response.status == 200:
            return _accepted(answer, await response.body(BODY_BYTES, until=anyio.current_time() + ANSWER_S))
        return await _other(answer, response)


def _accepted(answer: Answer, body: bytes) -> Answer:
    service = answer.service
    if service.proves_key and answer.key is Key.UNKNOWN:
        answer = replace(answer, key=Key.ACCEPTED)
    return replace(answer, models=_models(body)) if service.model else answer


async def _other(answer: Answer, response: HTTPResponse) -> Answer:
    """Return what a status other than 200 says."""
    service, status = answer.service, response.status
    if 300 <= status < 400:
        elsewhere = (
            f"answered HTTP {status}, which leads elsewhere; a login page of this network may be in the way, or the "
            f"URL of {service.part} is wrong"
        )
        return replace(answer, error=failure(service.host, elsewhere))
    if service.is_for_sockets and status < 500:
        return answer  # such a path refuses a plain request
    if status not in (401, 403):
        return replace(answer, error=await response.refusal())
    if answer.key in (Key.UNKNOWN, Key.ACCEPTED):
        return replace(answer, key=Key.REFUSED, key_error=await response.refusal())
    return answer if answer.key_error else replace(answer, error=await response.refusal())


def _models(body: bytes) -> tuple[str, ...] | None:
    """Return the models of a list as OpenAI and the LLM Gateway send it; None if it is something else."""
    try:
        records: list[Any] = json.loads(body)["data"]
        return tuple(str(record["id"]) for record in records)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
