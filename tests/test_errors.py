"""The tree of errors: one class per reaction a caller can have."""

from __future__ import annotations

import pytest

from voicepipe import errors
from voicepipe.errors import (
    AudioDeviceError,
    AudioDeviceLost,
    AudioError,
    AuthenticationError,
    ConfigurationError,
    IncompleteReply,
    LeaseRevoked,
    MissingExtra,
    RateLimited,
    RecordingError,
    ReplayError,
    SnapshotError,
    StageError,
    StoreError,
    StructuredOutputError,
    ToolError,
    ToolRetry,
    VendorError,
    VoicepipeError,
    WorkerError,
)

PARENTS = [
    (VoicepipeError, Exception),
    (ConfigurationError, VoicepipeError),
    (MissingExtra, ConfigurationError),
    (ReplayError, ConfigurationError),
    (AudioDeviceError, ConfigurationError),
    (AudioError, VoicepipeError),
    (AudioDeviceLost, AudioError),
    (VendorError, VoicepipeError),
    (AuthenticationError, VendorError),
    (RateLimited, VendorError),
    (IncompleteReply, VendorError),
    (StageError, VoicepipeError),
    (StructuredOutputError, VoicepipeError),
    (ToolError, VoicepipeError),
    (ToolRetry, ToolError),
    (RecordingError, VoicepipeError),
    (SnapshotError, VoicepipeError),
    (StoreError, VoicepipeError),
    (WorkerError, VoicepipeError),
    (LeaseRevoked, VoicepipeError),
]


@pytest.mark.parametrize(("error", "parent"), PARENTS)
def test_each_error_has_its_place(error: type[Exception], parent: type[Exception]) -> None:
    """Each error derives from the one above it in the tree, and from nothing else."""
    assert error.__bases__ == (parent,)


def test_the_table_above_is_whole() -> None:
    """Every public error has a place in the tree."""
    assert {error.__name__ for error, _ in PARENTS} == set(errors.__all__)


@pytest.mark.parametrize("name", errors.__all__)
def test_the_tree_is_drawn(name: str) -> None:
    """The module's docstring shows every error it defines."""
    assert name in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (AuthenticationError("refused", vendor="acme"), False),
        (RateLimited("slow down", vendor="acme", retry_after_s=2.0), True),
        (IncompleteReply("cut", vendor="acme"), False),
        (VendorError("down", vendor="acme", retryable=True), True),
    ],
)
def test_a_vendors_error_says_whether_later_may_help(error: VendorError, retryable: bool) -> None:
    """A refused key and a reply that broke off are not retryable; a crowded service is."""
    assert (error.vendor, error.retryable) == ("acme", retryable)


@pytest.mark.parametrize("wait_s", [None, 0.0, 2.5])
def test_a_rate_limit_keeps_what_the_service_asked_for(wait_s: float | None) -> None:
    """The error keeps how long the service asked to wait, or that it did not say."""
    assert RateLimited("slow down", vendor="acme", retry_after_s=wait_s).retry_after_s == wait_s


def test_a_missing_package_comes_with_the_command_that_installs_it() -> None:
    """The message names the part, the missing package, the reason, and the command to type."""
    error = MissingExtra("Resampling", "soxr", "local", detail="no wheel for this platform")
    assert str(error) == (
        "Resampling needs the package soxr, which is not installed (no wheel for this platform); "
        "run: pip install 'voicepipe[local]'"
    )
    assert (error.package, error.extra) == ("soxr", "local")


def test_a_stages_error_names_the_stage() -> None:
    """A field holds the name of the part to mend, not only the message."""
    assert StageError("Redact raised ValueError: 4", part="Redact").part == "Redact"
