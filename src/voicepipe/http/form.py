"""The body of a form with files, as browsers send it (multipart/form-data)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["form"]


def form(fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes, str]]) -> tuple[bytes, str]:
    """Return a form's body and its content type.

    Args:
        fields: The text fields.
        files: By field: the file's name, its content, and its content type.
    """
    request = httpx.Request("POST", "http://unused", data=dict(fields), files=dict(files))
    return request.read(), request.headers["content-type"]
