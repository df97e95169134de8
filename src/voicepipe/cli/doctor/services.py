"""Which services the parts of a pipeline use, and what to ask each so that it says whether calls can be held.

Rule 1: nothing is asked that a service bills: no session is opened and no model is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import voicepipe as vp
from voicepipe.http.address import host_of
from voicepipe.vendors.assemblyai import stt
from voicepipe.vendors.line.voice import LineVoice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.core.part import Part
    from voicepipe.http.network import Network
    from voicepipe.vendors.credentials import Credentials
    from voicepipe.vendors.extras import Extras

__all__ = ["Service", "default_parts", "services_of"]

TOKEN: Final = "/v3/token?expires_in_seconds=1"  # noqa: S105 - where it comes from
"""A temporary token is given for a valid key alone, costs nothing, and has expired when this one has arrived."""

DEEPGRAM_KEY: Final = "/v1/auth/token"
"""Says what a key may do, and answers for a valid one alone."""

MODELS: Final = "/models"

PROVING: Final = ("api.openai.com", "api.groq.com", "api.mistral.ai", "api.deepseek.com")
"""Hosts that list their models for a valid key alone. The LLM Gateway lists them for everybody."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service, and what to ask it.

    Attributes:
        part: The name of the part that uses it.
        base_url: Where it is: http or https.
        path: What to get there.
        network: How to get there.
        credentials: Where the key comes from.
        header: The header that carries the key; "" to ask without it.
        scheme: What stands before the key in that header.
        extras: Further headers and parameters of the application.
        proves_key: Whether the answer says that the key is accepted.
        model: The model that it should have; "" for any.
        is_for_sockets: Whether `path` answers websockets only, so that a refusal is the usual answer.
    """

    part: str
    base_url: str
    path: str
    network: Network
    credentials: Credentials
    header: str = ""
    scheme: str = ""
    extras: Extras | None = None
    proves_key: bool = False
    model: str = ""
    is_for_sockets: bool = False

    @property
    def host(self) -> str:
        """The host, with its port if it has one."""
        return urlsplit(self.base_url).netloc


def default_parts() -> tuple[Part, ...]:
    """Return the parts that use services in the first stack, as the README's first program has them."""
    return vp.AssemblyAIRecogniser(), vp.LLMStreamStage(), vp.AssemblyAITTS()


def services_of(part: Part) -> Iterator[Service]:
    """Yield the services of a part, and of the parts that it holds, as far as these are parts of this library."""
    match part:
        case vp.AssemblyAIRecogniser():
            base_url = _http(part.url.removesuffix(stt.PATH))
            yield Service(
                part=part.name,
                base_url=base_url,
                path=TOKEN,
                network=part._network.to(base_url),
                credentials=part._credentials,
                header="authorization",
                proves_key=True,
            )
        case vp.DeepgramRecogniser() | vp.DeepgramFluxRecogniser():
            base_url = _http(part.url.removesuffix(part._path))
            yield Service(
                part=part.name,
                base_url=base_url,
                path=DEEPGRAM_KEY,
                network=part._network.to(base_url),
                credentials=part._credentials,
                header="authorization",
                scheme=part._scheme,
                proves_key=True,
            )
        case LineVoice():
            path = urlsplit(part.url).path
            base_url = _http(part.url.removesuffix(path))
            yield Service(
                part=part.name,
                base_url=base_url,
                path=path,
                network=part._network.to(base_url),
                credentials=part._credentials,
                is_for_sockets=True,
            )
        case vp.LLMStreamStage() | vp.OpenAITTS():
            yield Service(
                part=part.name,
                base_url=part.base_url,
                path=MODELS,
                network=part._network,
                credentials=part._credentials,
                header=part._service.header,
                scheme=part._service.scheme,
                extras=part._extras,
                proves_key=host_of(part.base_url) in PROVING,
                model=part.model if isinstance(part, vp.LLMStreamStage) else "",
            )
        case _:
            pass
    for held in part._held():
        yield from services_of(held)


def _http(url: str) -> str:
    """Return where a websocket's host answers HTTP."""
    return f"http{url.removeprefix('ws')}"
