"""For operators: metrics, audit log, readiness, data folder, keys, backup, systemd."""
