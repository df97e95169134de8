"""What came of a peer that wanted to go on with a call, and the key with which it may come back.

Rule 1: a key is the id of a call and a secret. A record holds the hash of the secret alone, so that who reads the store
        cannot take a call over.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final, Literal, TypeAlias

__all__ = ["NEW_CALL", "Key", "Resumption", "WhyNot"]

SECRET_BYTES: Final = 24
"""192 random bits: nobody guesses one while a record is kept."""

WhyNot: TypeAlias = Literal["", "off", "unknown", "secret", "store", "version"]
"""Why a call could not go on.

""      it goes on, or nobody asked for it.
off     this server keeps no records.
unknown there is no record: the call has ended, it was too long ago, or the store has lost it.
secret  the key is not that of the call, or another caller has shown it.
store   the store could not be reached in time.
version another version of voicepipe has written the record.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """Whether a call goes on, and how its peer can come back to it.

    Attributes:
        key: What the peer shows as `Line.resume` when it comes back; "" if it cannot. It lets its holder take the call
            over, so that no log shows it.
        is_resumed: Whether the call goes on that the line named. If not, it is a new one.
        why_not: Why the call could not go on.
    """

    key: str = field(default="", repr=False)
    is_resumed: bool = False
    why_not: WhyNot = ""


NEW_CALL: Final = Resumption()
"""A new call whose peer cannot come back."""


@dataclass(frozen=True, slots=True)
class Key:
    """The key to a call.

    Attributes:
        call_id: The id of the call.
        secret: What proves that the peer was given the key; "" for a transport that has a proof of its own.
    """

    call_id: str
    secret: str = field(default="", repr=False)

    @classmethod
    def new(cls, call_id: str) -> Key:
        """Return a new key to a call."""
        return cls(call_id, token_urlsafe(SECRET_BYTES))

    @classmethod
    def read(cls, shown: str) -> Key:
        """Return the key that a peer shows: the id may have dots, the secret has none."""
        call_id, _, secret = shown.rpartition(".")
        return cls(call_id, secret)

    @property
    def text(self) -> str:
        """What the peer is given; "" without a secret."""
        return f"{self.call_id}.{self.secret}" if self.secret else ""

    @property
    def hashed(self) -> str:
        """What a record keeps of the secret."""
        return sha256(self.secret.encode(errors="surrogatepass")).hexdigest()

    def fits(self, hashed: str) -> bool:
        """Return whether a record was made for this key."""
        return hmac.compare_digest(self.hashed.encode(), hashed.encode("utf-8", "replace"))
