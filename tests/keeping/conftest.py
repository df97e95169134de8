"""A Redis server that the tests of this folder share."""

from tests.helpers.redis_server import redis_of_session, redis_server

__all__ = ["redis_of_session", "redis_server"]
