"""Every error voicepipe raises on purpose, one class per reaction a caller can have.

    VoicepipeError
    ├── ConfigurationError        wired or configured wrongly: change the program
    │   ├── MissingExtra          an optional package is not installed: install it
    │   └── AudioDeviceError      there is no such microphone or loudspeaker, or it cannot be opened: choose another
    ├── AudioError                audio is empty, damaged or of another format: mend the audio
    │   └── AudioDeviceLost       a microphone or loudspeaker went away during the call: plug it in again
    ├── VendorError               a speech or language service failed: `retryable` says whether later may help
    │   ├── AuthenticationError   the key is missing or refused: change the key
    │   ├── RateLimited           too many requests: slow down
    │   └── IncompleteReply       a reply was cut after some of it was heard: what was said stays said
    ├── StructuredOutputError     a model did not give the data it was asked for: `raw` is what it said
    ├── StageError                a stage raised something that is not in this tree: mend that stage
    ├── ToolError                 a tool could not do it: told to the model, not to the caller
    │   └── ToolRetry             a tool wants other arguments: the model may call it once more
    └── LeaseRevoked              audio was written after its turn lost the output: stop writing

Anything else that escapes is a bug of ours. Keys, transcripts and audio never appear in a message of ours; a
`StageError` quotes what the application's own part raised, and is logged without that.
"""

from __future__ import annotations

__all__ = [
    "AudioDeviceError",
    "AudioDeviceLost",
    "AudioError",
    "AuthenticationError",
    "ConfigurationError",
    "IncompleteReply",
    "LeaseRevoked",
    "MissingExtra",
    "RateLimited",
    "StageError",
    "StructuredOutputError",
    "ToolError",
    "ToolRetry",
    "VendorError",
    "VoicepipeError",
]


class VoicepipeError(Exception):
    """Base of every error raised by voicepipe on purpose."""


class ConfigurationError(VoicepipeError):
    """The program is wired or configured wrongly. Raised before any audio moves."""


class MissingExtra(ConfigurationError):  # noqa: N818 - it names what is missing; "Error" would add nothing
    """A part needs a package that is not installed.

    Attributes:
        package: The module that could not be imported, e.g. "pocketsphinx".
        extra: The extra that brings it, e.g. "local".
    """

    def __init__(self, part: str, package: str, extra: str, *, detail: str = "") -> None:
        """Say which part needs what, and the command that installs it."""
        hint = f" ({detail})" if detail else ""
        super().__init__(
            f"{part} needs the package {package}, which is not installed{hint}; run: pip install 'voicepipe[{extra}]'"
        )
        self.package = package
        self.extra = extra


class AudioDeviceError(ConfigurationError):
    """A microphone or loudspeaker cannot be opened: it is not there, in use, forbidden, or not able to do this."""


class AudioError(VoicepipeError):
    """Audio is empty, damaged or not of the format that was promised."""


class AudioDeviceLost(AudioError):  # noqa: N818 - names what happened to the device
    """A microphone or loudspeaker was unplugged or fell silent during the call."""


class VendorError(VoicepipeError):
    """A speech or language service failed.

    Attributes:
        vendor: Short name, e.g. "api.example.com".
        retryable: Whether the same request may succeed later.
    """

    def __init__(self, message: str, *, vendor: str, retryable: bool) -> None:
        super().__init__(message)
        self.vendor = vendor
        self.retryable = retryable


class AuthenticationError(VendorError):
    """The key is missing, wrong, or not allowed to do this."""

    def __init__(self, message: str, *, vendor: str) -> None:
        super().__init__(message, vendor=vendor, retryable=False)


class RateLimited(VendorError):  # noqa: N818 - the field's word for HTTP 429
    """The service asks to slow down: HTTP 429, or another refusal that says when to come again.

    Attributes:
        retry_after_s: Seconds the service asked to wait, or None when it did not say.
    """

    def __init__(self, message: str, *, vendor: str, retry_after_s: float | None) -> None:
        super().__init__(message, vendor=vendor, retryable=True)
        self.retry_after_s = retry_after_s


class IncompleteReply(VendorError):  # noqa: N818 - names the state of the reply
    """A reply ended before its end. What was already spoken stays spoken, so it is never asked for again."""

    def __init__(self, message: str, *, vendor: str) -> None:
        super().__init__(message, vendor=vendor, retryable=False)


class StructuredOutputError(VoicepipeError):
    """A model gave no data that validates, also when it was told what was wrong.

    Attributes:
        raw: What it said last; may hold what the caller said, so it is not part of the message.
    """

    def __init__(self, message: str, *, raw: str) -> None:
        super().__init__(message)
        self.raw = raw


class StageError(VoicepipeError):
    """A stage or another part raised an exception that is none of ours; it is the `__cause__`.

    Attributes:
        part: Name of the part, e.g. "AcmeTTS".
    """

    def __init__(self, message: str, *, part: str) -> None:
        super().__init__(message)
        self.part = part


class ToolError(VoicepipeError):
    """A tool cannot do what it was asked. Raise it in a tool: the model is told the message as it stands."""


class ToolRetry(ToolError):  # noqa: N818 - names what is asked for
    """A tool could do it with other arguments. Raise it in a tool: the model is told the message, and may call again.

    Once: after the second refusal in a turn the model has to answer without tools.
    """


class LeaseRevoked(VoicepipeError):  # noqa: N818 - names what happened to the lease
    """Audio was written by a turn that no longer owns the output."""
