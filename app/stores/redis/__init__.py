"""Sessions in Redis or Valkey, for several processes, and the client of that Redis.

May import app.stores and app.common. `open_store` is for programs that share nothing else.
"""

from app.stores.redis.client import RedisClient
from app.stores.redis.store import RedisStore

__all__ = ["RedisClient", "RedisStore", "open_store"]


def open_store(url: str) -> RedisStore:
    """Return a store with a client of its own; raises InvalidRedisUrl for an invalid URL."""
    client = RedisClient(url)
    store = RedisStore(client)
    client.subscribe(*store.subscribers)
    return store
