"""Calls over Twilio: a webhook that connects the call, the call itself, and a webhook for what comes after it.

Rule 1: a request counts only if Twilio has signed it, and a stream also needs a token, which works once: a signature
        can be replayed.
Rule 2: the caller's number and the application's facts stay here, or in the workers' store. Twilio passes on the token
        that stands for them.
Rule 3: the log has no numbers, and nothing that a caller says or presses.
Rule 4: Twilio asks what comes next when a stream has ended in any way. The answer is another stream only for a call
        that nobody has ended and that has a record.
"""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import parse_qsl

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from voicepipe.audio.source import PushSource
from voicepipe.core.log import Personal, log
from voicepipe.core.transfer import Transfer
from voicepipe.errors import ConfigurationError
from voicepipe.serving.between import RETURNS, Between
from voicepipe.serving.telephony import MarkedOutput, TelephoneLine, TelephoneTransport, begin
from voicepipe.serving.transport import Line, Peer, Refused
from voicepipe.serving.twilio import twiml
from voicepipe.serving.twilio.keys import Keys
from voicepipe.serving.twilio.protocol import TwilioProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from pydantic import SecretStr
    from starlette.requests import HTTPConnection
    from starlette.routing import BaseRoute

    from voicepipe.core.context import Fact
    from voicepipe.serving.desk import Desk
    from voicepipe.session.session import Session

__all__ = ["Twilio"]

Form: TypeAlias = "Mapping[str, str]"

MOST_FORM_BYTES: Final = 16_384
"""A webhook of a call has less than 2 kB."""

MOST_FIELDS: Final = 200

FACTS: Final = {
    "From": "from",
    "To": "to",
    "CallSid": "call_sid",
    "AccountSid": "account_sid",
    "Direction": "direction",
}
"""Facts of a call by the names of its webhook's form."""

ANSWER_S: Final = 10.0
"""How long `incoming` and `after` may take. Twilio waits for 15 s, and then asks its fallback."""

ASK_AGAIN_S: Final = 1
"""After how many seconds Twilio asks again, where a call goes on and this worker takes none at the moment."""


class Twilio(TelephoneTransport):
    """Telephone calls over Twilio Media Streams.

    In Twilio's console, the voice URL of a number is this server's address with `path`, by POST. The webhook connects
    the call; its facts are `from`, `to`, `call_sid`, `stream_sid`, `account_sid` and `direction`, and what `incoming`
    adds. Keys that the caller presses reach the session. A call that ends with `vp.Transfer(to)` is connected there;
    any other one that the agent ends is hung up. The caller hears the agent's last words before either. A call whose
    stream breaks goes on over another one, if the server has a store.

    Args:
        auth_token: The account's auth token, or those of several accounts by their AccountSid. None reads the
            environment variable TWILIO_AUTH_TOKEN when the server starts.
        path: Where webhook and websocket are; `path` + "/after" is asked what comes after a call.
        shared_keys: Secrets of shared keys by their names, if Twilio signs with SHA-256.
        incoming: Gets the webhook's form, e.g. "From" and "To", and returns facts of the call; or TwiML, which is
            answered in place of the agent, e.g. at night; or None. May be async.
        after: Gets the form and `Session.result` when a call goes on after the agent, and returns TwiML; None does as
            above. May be async.
        busy: TwiML for a call that nobody can take now, e.g. to play an announcement; a busy line by default.

    Raises:
        ConfigurationError: The path or a secret is invalid.
    """

    name = "twilio"
    proof = "a signature of Twilio"
    most_message_bytes = 65_536

    def __init__(
        self,
        auth_token: str | SecretStr | Mapping[str, str | SecretStr] | None = None,
        *,
        path: str = "/twilio",
        shared_keys: Mapping[str, str | SecretStr] | None = None,
        incoming: Callable[[Form], Mapping[str, Fact] | str | None]
        | Callable[[Form], Awaitable[Mapping[str, Fact] | str | None]]
        | None = None,
        after: Callable[[Form, Any], str | None] | Callable[[Form, Any], Awaitable[str | None]] | None = None,
        busy: str | None = None,
    ) -> None:
        if not path.startswith("/") or path.endswith("/") or "?" in path:
            raise ConfigurationError(f'Twilio: path must be like "/twilio", not {path!r}')
        self.path = path
        self._keys = Keys(auth_token, shared_keys or {})
        self._incoming = incoming
        self._after = after
        self._busy = busy or twiml.busy()
        self._between = Between(self.name)

    @asynccontextmanager
    async def open(self, desk: Desk) -> AsyncGenerator[None]:
        """Read the auth token from the environment, if none was given. See `Transport.open`.

        Raises:
            ConfigurationError: It is not there.
        """
        del desk
        self._keys.read()
        yield

    # --- webhooks -----------------------------------------------------------------------------------------------------

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        """Return the two webhooks. See `Transport.routes`."""

        async def incoming(request: Request) -> Response:
            return await self._answer(request, desk, self.path, self._take_call)

        async def after(request: Request) -> Response:
            return await self._answer(request, desk, f"{self.path}/after", self._go_on)

        return [
            Route(self.path, incoming, methods=["POST"], name=f"{self.name} webhook"),
            Route(f"{self.path}/after", after, methods=["POST"], name=f"{self.name} after"),
        ]

    async def _answer(
        self, request: Request, desk: Desk, path: str, answer: Callable[[Form, Desk, str], Awaitable[str]]
    ) -> Response:
        """Answer a webhook if Twilio has signed it."""
        try:
            with anyio.fail_after(desk.limits.start_s):
                pairs = await _form(request)
            form, base = dict(pairs), desk.public_url(request)
            account = form.get("AccountSid", "")
            self._keys.check(request.headers, _with_query(base + path, request), pairs, account)
            with anyio.move_on_after(ANSWER_S):
                return Response(await answer(form, desk, base), media_type="text/xml")
            log.error("%s: what the application answers to a webhook took longer than %g s", self.name, ANSWER_S)
            return PlainTextResponse("no answer in time", 503)
        except Refused as refused:
            desk.note_refusal(self, refused, request.client.host if request.client else "")
            return PlainTextResponse(refused.message, refused.status)
        except (TimeoutError, ClientDisconnect):
            return PlainTextResponse("the form took too long", 408)

    async def _take_call(self, form: Form, desk: Desk, base: str) -> str:
        if refused := desk.why_closed():
            desk.note_refusal(self, refused, "")
            return self._busy
        given: Mapping[str, Fact] | str | None = None
        if self._incoming is not None:
            given = await _result(self._incoming(form))
        if isinstance(given, str):
            return given
        return await self._connect(form, given or {}, desk, base)

    async def _connect(self, form: Form, facts: Mapping[str, Fact], desk: Desk, base: str) -> str:
        """Connect a call to a stream."""
        known: dict[str, Fact] = {fact: form[name] for name, fact in FACTS.items() if name in form}
        known |= {fact: Personal(known[fact]) for fact in ("from", "to") if fact in known}
        token = await desk.tokens.issue(self.name, {**facts, **known})
        media = _websocket(base) if desk.place is None else desk.place.media_url
        # With a store any worker answers what comes next; without one this worker alone knows the call's result.
        back = desk.place.back if desk.place is not None and desk.store is None else ""
        return twiml.connect(media + self.path, f"{base}{self.path}/after{back}", {"token": token})

    async def _go_on(self, form: Form, desk: Desk, base: str) -> str:
        """Answer what comes after the agent, or after a stream that broke."""
        call_id, store = form["CallSid"], desk.store
        has_ended, result = await self._between.take(call_id, store)
        if store is not None and not has_ended and await self._between.goes_on(call_id, store):
            if desk.why_closed() is not None:
                return twiml.ask_again(f"{base}{self.path}/after", ASK_AGAIN_S)
            if await self._between.may_return(call_id, store):
                return await self._connect(form, {RETURNS: True}, desk, base)
            log.error("%s hangs a call up whose streams break one after another", self.name)
            return twiml.hang_up()
        return await self._answer_after(form, result)

    async def _answer_after(self, form: Form, result: object) -> str:
        given: str | None = await _result(self._after(form, result)) if self._after is not None else None
        if given is not None:
            return given
        if isinstance(result, Transfer):
            try:
                return twiml.dial(result.to)
            except ConfigurationError as error:
                log.error("%s cannot transfer a call: %s", self.name, error)
        return twiml.hang_up()

    # --- a call -------------------------------------------------------------------------------------------------------

    async def check(self, request: HTTPConnection, desk: Desk) -> Mapping[str, Fact]:
        """Check Twilio's signature on the upgrade. See `Transport.check`."""
        url = desk.media_url(request) + self.path
        self._keys.check(request.headers, _with_query(url, request))
        return {}

    async def start(self, peer: Peer, desk: Desk) -> Line:
        """Wait for Twilio's message `start`, and take its token. See `Transport.start`."""
        protocol = TwilioProtocol()
        started = await begin(peer, protocol)
        parameters = {name: Personal(value) for name, value in started.parameters.items()}
        facts = dict(await desk.tokens.redeem(self.name, parameters.pop("token", "")))
        returns = facts.pop(RETURNS, False) is True
        if facts.get("call_sid") != started.call_id:
            raise Refused("token", "the token is that of another call", status=401, code=4401)
        return TelephoneLine(
            source=PushSource(protocol.sample_rate),
            output=MarkedOutput(peer, protocol),
            facts={**parameters, **facts, "stream_sid": started.stream_id},
            id=started.call_id,
            protocol=protocol,
            resume_call=started.call_id if returns else "",
            store=desk.store,
        )

    async def finish(self, peer: Peer, line: Line, session: Session) -> None:
        """Keep the call's result for the webhook that asks what comes next. See `Transport.finish`."""
        del peer
        if isinstance(line, TelephoneLine) and not line.has_ended:
            await self._between.note(session.id, session.result, line.store)

    async def restarts(self, peer: Peer, line: Line, session: Session) -> None:
        """Let the call go on at another worker, to which Twilio's next request leads. See `Transport.restarts`."""
        if not line.is_handed_over:
            await self.finish(peer, line, session)


async def _form(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a form, in order.

    Raises:
        Refused: It is no form of a call, or too long.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused("malformed", "expected a form", status=415)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_FORM_BYTES:
            raise Refused("size", f"a form may have at most {MOST_FORM_BYTES} bytes", status=413)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refused("malformed", "expected a form in UTF-8", status=400) from None
    if not dict(pairs).get("CallSid"):
        raise Refused("malformed", "expected CallSid in the form", status=400)
    return pairs


async def _result(given: Any) -> Any:  # noqa: ANN401 - what the application returned
    return await given if inspect.isawaitable(given) else given


def _with_query(url: str, request: HTTPConnection) -> str:
    return f"{url}?{request.url.query}" if request.url.query else url


def _websocket(url: str) -> str:
    return url.replace("http", "ws", 1)
