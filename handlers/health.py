"""Health checks and metrics, for load balancers and Prometheus."""

from prometheus_client import CONTENT_TYPE_LATEST

from app.web.security_headers import SecurityHeaders
from app.web.session_lookup import SessionLookup
from handlers.session import SessionData


class AliveHandler(SecurityHeaders):
    """200 while the event loop runs."""

    def get(self) -> None:
        self.write({"status": "alive"})


class ReadyHandler(SecurityHeaders, SessionLookup[SessionData]):
    """200 if store and database can be written and the process does not stop, else 503."""

    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        failed = await self.services.readiness.failed()
        if self.services.stopping:
            failed = ["draining", *failed]
        if failed:
            self.set_status(503)
        self.write({"status": "unable" if failed else "ready", "failed": failed})


class MetricsHandler(SecurityHeaders, SessionLookup[SessionData]):
    """Metrics for Prometheus; a proxy must keep them from the public."""

    async def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.set_header("Cache-Control", "no-store")
        self.write(await self.services.metrics.fresh_text())


routes = [(r"/healthz", AliveHandler), (r"/readyz", ReadyHandler), (r"/metrics", MetricsHandler)]
