"""What a record holds around a snapshot: who may go on with the call, and how far its worker had come.

Rule 1: it is readable without the session that the snapshot is of, so that a call is claimed only for who may have it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from voicepipe.errors import SnapshotError

__all__ = ["Envelope", "Owner"]

VERSION: Final = 1
PLAIN_BYTES: Final = 16_384
"""A longer snapshot is compressed, at the least effort: a long call holds its words several times."""

MOST_BYTES: Final = 16 * 1024 * 1024
"""What is longer after that was no snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who may go on with a call.

    Attributes:
        transport: The transport by which they came.
        secret: The hash of the secret in their key; "" where the transport is certain who calls.
        subject: The subject that the application's authenticator has named; "" for none.
    """

    transport: str = ""
    secret: str = field(default="", repr=False)
    subject: str = field(default="", repr=False)


class _Head(BaseModel):
    """The first line of a record, as JSON."""

    model_config = ConfigDict(frozen=True, strict=True)

    version: Literal[1]
    transport: str
    secret: str
    subject: str
    is_busy: bool
    is_released: bool
    begun: list[str]
    is_compressed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A snapshot, and what has to be known before a session is made of it.

    Attributes:
        owner: Who may go on with the call.
        is_busy: Whether a turn was in flight.
        is_released: Whether the worker had let go of the call: it did nothing after this.
        begun: The ids of the latest calls of writing tools that had begun.
        snapshot: What `Session.snapshot` returned.
    """

    owner: Owner
    is_busy: bool
    is_released: bool
    begun: tuple[str, ...]
    snapshot: bytes = field(repr=False)

    def packed(self) -> bytes:
        """Return the data of a record."""
        head = _Head(
            version=VERSION,
            transport=self.owner.transport,
            secret=self.owner.secret,
            subject=self.owner.subject,
            is_busy=self.is_busy,
            is_released=self.is_released,
            begun=list(self.begun),
            is_compressed=len(self.snapshot) > PLAIN_BYTES,
        )
        held = zlib.compress(self.snapshot, level=1) if head.is_compressed else self.snapshot
        return head.model_dump_json().encode() + b"\n" + held

    @classmethod
    def unpacked(cls, data: bytes) -> Envelope:
        """Return what is in the data of a record.

        Raises:
            SnapshotError: It is no record, or one of another version.
        """
        line, _, held = data.partition(b"\n")
        try:
            head = _Head.model_validate_json(line)
            snapshot = _expanded(held) if head.is_compressed else held
        except (ValidationError, zlib.error):
            raise SnapshotError(
                f"the record of a call is not one of version {VERSION}; a worker with another version of voicepipe "
                "has written it"
            ) from None
        return cls(
            owner=Owner(transport=head.transport, secret=head.secret, subject=head.subject),
            is_busy=head.is_busy,
            is_released=head.is_released,
            begun=tuple(head.begun),
            snapshot=snapshot,
        )


def _expanded(compressed: bytes) -> bytes:
    expanding = zlib.decompressobj()
    expanded = expanding.decompress(compressed, MOST_BYTES)
    if not expanding.eof:
        raise zlib.error("it is cut, or too long")
    return expanded
