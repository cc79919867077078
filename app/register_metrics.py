"""All metrics of the program: which part shows which."""

from __future__ import annotations

import functools

from app.ops import data_folder
from app.ops.client_metrics import ClientMetrics, Connections
from app.ops.process_metrics import ProcessMetrics, of_backups, of_mails
from app.ops.store_metrics import DatabaseMetrics, RedisMetrics, StoreMetrics
from app.optional_cluster import Cluster
from app.services import Services
from app.stores.counted import StoreCounts


def register_metrics(
    services: Services, connections: Connections, store: StoreCounts, cluster: Cluster | None
) -> None:
    """Show every metric of the program on /metrics, in this order."""
    counters, metrics = services.counters, services.metrics
    survey = metrics.survey
    clients = ClientMetrics(counters, services.socket_server.engine, connections)
    settings = services.settings
    sessions = StoreMetrics(store, services.expiry, survey, kind=settings.store_kind)
    pools = (*services.accounts.calls.workers, services.database.workers)
    process = ProcessMetrics(services.loop_lag, services.stall_log, survey, services.jobs)
    metrics.show(
        process.of_loop,
        functools.partial(process.of_readiness, lambda: services.stopping),
        clients.of_connections,
        clients.of_requests,
        clients.of_events,
        clients.of_sessions,
        sessions.of_calls,
        sessions.of_sessions,
        DatabaseMetrics(pools, survey).of_pools,
        process.of_jobs,
        functools.partial(of_mails, services.mail, counters.mails),
        functools.partial(of_backups, lambda: data_folder.last_backup(settings.data_dir)),
    )
    if cluster is not None:
        metrics.show(RedisMetrics(cluster.client).of_link)
