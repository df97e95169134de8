"""The errors of pydantic-ai, by who has to act. Pure."""

from __future__ import annotations

from typing import Final

from pydantic_ai.exceptions import (
    AgentRunError,
    FallbackExceptionGroup,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    ModelRateLimitError,
    ModelServerError,
    ModelUnavailableError,
    UserError,
)

from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError, VoicepipeError
from voicepipe.http.refusals import excerpt

__all__ = ["translated"]

REFUSED: Final = (401, 403)
TOO_MANY: Final = 429
MAY_PASS: Final = (408, 409)


def translated(error: BaseException, vendor: str) -> VoicepipeError | None:
    """Return one of our errors for one of theirs; None for an error of something else.

    Args:
        error: What a run raised.
        vendor: The model, for messages.
    """
    if isinstance(error, FallbackExceptionGroup):  # every model of a `FallbackModel` has failed
        return translated(error.exceptions[0], vendor)
    if isinstance(error, UserError):
        return ConfigurationError(f"pydantic-ai refuses the run: {excerpt(str(error))}")
    if not isinstance(error, AgentRunError):
        return None
    status = error.status_code if isinstance(error, ModelHTTPError) else 0
    said = f"{vendor}: {excerpt(str(error))}"
    if isinstance(error, ModelAuthenticationError) or status in REFUSED:
        return AuthenticationError(f"{said}; check the key of the agent's model", vendor=vendor)
    if isinstance(error, ModelRateLimitError) or status == TOO_MANY:
        wait_s = error.retry_after if isinstance(error, ModelAPIError) else None
        return RateLimited(said, vendor=vendor, retry_after_s=wait_s)
    may_pass = isinstance(error, (ModelConnectionError, ModelServerError, ModelUnavailableError))
    return VendorError(said, vendor=vendor, retryable=may_pass or status >= 500 or status in MAY_PASS)
