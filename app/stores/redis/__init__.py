"""Sessions in Redis or Valkey, for several processes and machines; and the link to that Redis."""

from app.stores.redis.link import Link
from app.stores.redis.store import RedisStore

__all__ = ["Link", "RedisStore"]
