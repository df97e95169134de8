"""Every error voicepipe raises on purpose, one class per reaction a caller can have.

    VoicepipeError
    ├── ConfigurationError        wired or configured wrongly: change the program
    │   ├── MissingExtra          an optional package is not installed: install it
    │   ├── ReplayError           a recording cannot be replayed like this: choose other live parts, or another program
    │   └── AudioDeviceError      there is no such microphone or loudspeaker, or it cannot be opened: choose another
    ├── AudioError                audio is empty, damaged or in another format: mend the audio
    │   └── AudioDeviceLost       a microphone or loudspeaker disappeared during the call: plug it in again
    ├── VendorError               a speech or language service failed: `retryable` says whether later may help
    │   ├── AuthenticationError   the key is missing or refused: change the key
    │   ├── RateLimited           too many requests: slow down
    │   └── IncompleteReply       a reply was cut after some of it was heard: what was said stays said
    ├── StructuredOutputError     a model did not give the data it was asked for: `raw` is what it said
    ├── StageError                a stage raised an error that is not in this tree: mend that stage
    ├── ToolError                 a tool could not do it: the model is shown the message, the caller is not
    │   └── ToolRetry             a tool wants other arguments: the model may call it once more
    ├── SnapshotError             a call cannot be resumed from what was given as its snapshot: begin it fresh
    ├── RecordingError            a recording cannot be written or read: the message says what to do
    ├── StoreError                what is kept of calls cannot be reached: calls go on, but none can be resumed
    ├── WorkerError               a worker of a fleet cannot be started or does not answer: look at its log
    └── LeaseRevoked              audio was written after its turn lost the output: stop writing

Any other error that escapes is a bug in voicepipe. Messages never contain keys, transcripts or audio. A `StageError`
quotes what the application's own part raised; the log leaves the quotation out.
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
    "RecordingError",
    "ReplayError",
    "SnapshotError",
    "StageError",
    "StoreError",
    "StructuredOutputError",
    "ToolError",
    "ToolRetry",
    "VendorError",
    "VoicepipeError",
    "WorkerError",
]


class VoicepipeError(Exception):
    """Base of every error raised by voicepipe on purpose."""


class ConfigurationError(VoicepipeError):
    """The program is wired or configured wrongly. Raised before any audio moves."""


class MissingExtra(ConfigurationError):  # noqa: N818 - it names what is missing; "Error" would add nothing
    """A part needs a package that is not installed.

    Attributes:
        package: The module that could not be imported, e.g. "pocketsphinx".
        extra: The extra that installs it, e.g. "local".
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
    """A microphone or loudspeaker cannot be opened: it is missing, in use, forbidden, or lacks what was asked of it."""


class ReplayError(ConfigurationError):
    """A recording cannot be replayed like this: the application does not fit it, or it lacks what a live part needs."""


class AudioError(VoicepipeError):
    """Audio is empty, damaged or not in the promised format."""


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


class RateLimited(VendorError):  # noqa: N818 - the usual word for HTTP 429
    """The service asks for fewer requests: HTTP 429, or another refusal that says when to try again.

    Attributes:
        retry_after_s: Seconds that the service asks to wait; None if it does not say.
    """

    def __init__(self, message: str, *, vendor: str, retry_after_s: float | None) -> None:
        super().__init__(message, vendor=vendor, retryable=True)
        self.retry_after_s = retry_after_s


class IncompleteReply(VendorError):  # noqa: N818 - names the state of the reply
    """A reply broke off. What was already spoken stays spoken, so the request is never repeated."""

    def __init__(self, message: str, *, vendor: str) -> None:
        super().__init__(message, vendor=vendor, retryable=False)


class StructuredOutputError(VoicepipeError):
    """A model gave no data that validates, not even after it was shown what was wrong.

    Attributes:
        raw: The model's last answer. It may quote the caller, so the message does not contain it.
    """

    def __init__(self, message: str, *, raw: str) -> None:
        super().__init__(message)
        self.raw = raw


class StageError(VoicepipeError):
    """A stage or another part raised an exception that is not a `VoicepipeError`; it is the `__cause__`.

    Attributes:
        part: Name of the part, e.g. "AcmeTTS".
    """

    def __init__(self, message: str, *, part: str) -> None:
        super().__init__(message)
        self.part = part


class ToolError(VoicepipeError):
    """A tool cannot do what it was asked to do. Raise it in a tool: the model is shown the message as it is."""


class ToolRetry(ToolError):  # noqa: N818 - names what is asked for
    """A tool needs other arguments. Raise it in a tool: the model is shown the message, and may call the tool again.

    It may do so once: after a second refusal in the same turn it has to answer without tools.
    """


class RecordingError(VoicepipeError):
    """A recording cannot be written, or what should be read is missing, damaged or of a newer form."""


class StoreError(VoicepipeError):
    """A store of calls cannot be reached, did not answer in time, refused something, or holds nonsense.

    The call that was to be kept goes on. What was to be written may have been written, or not.
    """


class WorkerError(VoicepipeError):
    """A worker of a fleet could not be started, or does not answer; its own log says why."""


class SnapshotError(VoicepipeError):
    """A call cannot be resumed: this is no snapshot, or one of another version of the format. Begin the call fresh."""


class LeaseRevoked(VoicepipeError):  # noqa: N818 - names what happened to the lease
    """A turn wrote audio although it no longer owns the output."""
