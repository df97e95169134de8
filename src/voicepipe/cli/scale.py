"""`voicepipe scale`: look after the workers behind a gateway.

Rule 1: the gateway does what takes long; this command asks it how far it is, until it is done.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio
from pydantic import BaseModel, TypeAdapter, ValidationError

import voicepipe as vp
from voicepipe.cli._serve_arguments import TOKEN_VARIABLE
from voicepipe.cli._tables import as_json, printable
from voicepipe.core.process import run
from voicepipe.fleet.application import check_token
from voicepipe.http.client import HTTPClient

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

__all__ = ["scale"]

ANSWER_S: Final = 10.0
LOOK_S: Final = 1.0
"""How often the gateway is asked how far it is."""

MOST_BYTES: Final = 1 << 20


class Worker(BaseModel):
    """A worker, as the gateway describes it."""

    id: str
    index: int
    media_url: str
    calls: int
    places: int
    is_draining: bool
    lag_s: float
    refuses: str


class Status(BaseModel):
    """A fleet, as the gateway describes it."""

    workers: list[Worker]
    is_restarting: bool
    failed: str
    lost: int
    replaced: int


class Refusal(BaseModel):
    """Why the gateway does not do something."""

    message: str


STATUS: Final = TypeAdapter(Status)


def scale(options: argparse.Namespace) -> int:
    """Do what the command line says, and return the exit status.

    Raises:
        ConfigurationError: The gateway does not let this command in, or cannot do what it asks for.
        WorkerError: No gateway answers, or a worker could not be replaced.
    """
    if (options.what == "drain") != (options.worker is not None):
        raise vp.ConfigurationError(
            "name the worker to drain, as voicepipe scale status shows it: voicepipe scale drain w1"
            if options.worker is None
            else f"{options.worker!r} has no effect: voicepipe scale {options.what} is about all workers"
        )
    return run(_scale, options)


async def _scale(options: argparse.Namespace) -> int:
    if token := options.token or os.environ.get(TOKEN_VARIABLE, ""):
        check_token(token)
    try:
        client = HTTPClient(options.gateway, {"authorization": f"Bearer {token}"} if token else {})
    except vp.ConfigurationError as error:
        raise vp.ConfigurationError(
            "--gateway must be an address such as https://voice.example.com, or http://127.0.0.1:8000 on this machine, "
            f"not {options.gateway!r}"
        ) from error
    async with client.open():
        fleet = _Fleet(client, options.gateway)
        if options.what == "status":
            _print(await fleet.status(), is_json=options.json)
            return 0
        asked: dict[str, Any] = {} if options.within is None else {"within_s": options.within}
        if options.what == "drain":
            asked["worker"] = options.worker
        await fleet.ask(f"/fleet/{options.what}", asked)
        return await _follow(fleet, options)


async def _follow(fleet: _Fleet, options: argparse.Namespace) -> int:
    """Say what happens until it is done."""
    seen: dict[str, str] = {}
    while True:
        status = await fleet.status()
        for worker in status.workers:
            state = _state(worker)
            if seen.get(worker.id) != state and not options.json:
                print(f"{worker.id}: {state}, {worker.calls} calls", flush=True)
            seen[worker.id] = state
        for gone in [name for name in seen if name not in {worker.id for worker in status.workers}]:
            del seen[gone]
            if not options.json:
                print(f"{gone}: has ended", flush=True)
        is_done = not status.is_restarting if options.what == "restart" else options.worker not in seen
        if is_done or status.failed:
            break
        await anyio.sleep(LOOK_S)
    if status.failed:
        raise vp.WorkerError(status.failed)
    if options.json:
        _print(status, is_json=True)
    return 0


class _Fleet:
    """A fleet behind its gateway."""

    def __init__(self, client: HTTPClient, url: str) -> None:
        self._client = client
        self._url = url

    async def status(self) -> Status:
        """Return how the fleet is."""
        with self._reached():
            async with self._client.get("/fleet", limit_s=ANSWER_S) as response:
                body = await response.body(MOST_BYTES)
        self._check(response.status, body)
        try:
            return STATUS.validate_json(body)
        except ValidationError as error:
            raise vp.ConfigurationError(f"{self._url} is no gateway of voicepipe serve --workers") from error

    async def ask(self, path: str, asked: dict[str, Any]) -> None:
        """Ask for something that takes long."""
        with self._reached():
            async with self._client.post(path, json.dumps(asked), limit_s=ANSWER_S) as response:
                body = await response.body(MOST_BYTES)
        self._check(response.status, body)

    @contextmanager
    def _reached(self) -> Generator[None]:
        try:
            yield
        except vp.VendorError as error:
            raise vp.WorkerError(
                f"no gateway answers at {self._url}: start one with voicepipe serve app.py --workers 2, or name it by "
                "--gateway"
            ) from error

    def _check(self, status: int, body: bytes) -> None:
        if status in (200, 202):
            return
        if status == 403:
            raise vp.ConfigurationError(
                f"{self._url} refuses this: give its token by {TOKEN_VARIABLE} or --token; without one it takes "
                "commands from its own machine"
            )
        try:
            message = Refusal.model_validate_json(body).message
        except ValidationError:
            message = f"{self._url} is no gateway of voicepipe serve --workers (status {status})"
        raise vp.ConfigurationError(message)


def _state(worker: Worker) -> str:
    if worker.is_draining:
        return "draining"
    return worker.refuses or ("ready" if worker.calls < worker.places else "full")


def _print(status: Status, *, is_json: bool) -> None:
    if is_json:
        print(as_json(status.model_dump()))
        return
    heads = ("worker", "state", "calls", "lag", "callers reach it at")
    rows = [
        (
            worker.id,
            _state(worker),
            f"{worker.calls}/{worker.places}",
            f"{worker.lag_s * 1_000:.0f} ms",
            worker.media_url,
        )
        for worker in status.workers
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(f"{printable(cell):<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"{status.lost} lost, {status.replaced} replaced{', being restarted' if status.is_restarting else ''}")
