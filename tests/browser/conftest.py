"""The tests with a browser call the server, so they are left out where what that needs is not installed."""

from tests.serving.conftest import pytest_ignore_collect

__all__ = ["pytest_ignore_collect"]
