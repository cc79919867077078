"""Every setting: name, type, default, unit, range and meaning."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, overload

from app.settings import addresses, store_urls, values
from app.settings.addresses import Network
from app.settings.declaration import setting as _option
from app.settings.mail import MailServer, mail_server
from app.settings.values import SettingsError

R = TypeVar("R")
_DAY = 86_400
_YEAR = 365 * _DAY
_CENTURY = 100 * _YEAR


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one process, already checked. Times are seconds, sizes bytes.

    `own` are the settings of modules of handlers/, by the module's name: {"chat": ChatSettings()}.
    Handlers reach them with `of`.
    """

    own: dataclasses.InitVar[Mapping[str, Any] | None] = None
    host: tuple[str, ...] = _option(
        addresses.listening,
        "127.0.0.1",
        "addresses to listen on, comma-separated or one for each --host; none but those given "
        "with --unix-socket",
    )
    port: int = _option(values.integer(0, 65535), "8888", "TCP port to listen on; 0: any free one")
    unix_socket: Path | None = _option(
        values.socket_path,
        "",
        "Unix socket to listen on, for a proxy on this machine; its X-Forwarded-* count; "
        "empty: none",
    )
    unix_socket_mode: int = _option(
        values.mode, "660", "octal number, as chmod takes it: the permissions of --unix-socket"
    )
    base_path: str = _option(
        values.base_path,
        "",
        "path below which everything is served, such as /app; empty: the root of the host",
    )
    reload: bool = _option(
        values.yes_no,
        "no",
        "for development: start anew when code, templates or static files change, and let "
        "clients wait an hour for a debugger",
    )
    data_dir: Path = _option(
        values.folder, "data", "folder for databases and keys, made with mode 0700"
    )
    process_number: int = _option(
        values.integer(0, 9999),
        "0",
        "number of this process, carried by its Engine.IO ids; "
        "each process on one Redis needs its own",
    )
    store: str = _option(
        store_urls.store,
        "sqlite",
        "where sessions live: sqlite, memory, redis://…, rediss://… or redis+sentinel://…",
        secret=True,
    )
    database: str = _option(
        store_urls.database,
        "sqlite",
        "where accounts live: sqlite, or postgresql://USER:PASSWORD@HOST/DATABASE",
        secret=True,
    )
    secret_keys: tuple[str, ...] = _option(
        values.secret_keys,
        "",
        "keys whose signatures on cookies are accepted, comma-separated; the last one signs; "
        "empty: one is made and kept in the data folder",
        secret=True,
    )
    secret_key_file: Path | None = _option(
        values.optional_file,
        "",
        "file of such keys, one a line; processes follow its changes, so that "
        "python -m app keys rotate needs no restart; empty: secret_key in the data folder",
    )
    session_idle_timeout: float = _option(
        values.seconds(0, _CENTURY), "86400", "seconds without activity that end a session; 0: none"
    )
    session_max_age: float = _option(
        values.seconds(0, _CENTURY),
        "2592000",
        "seconds after which a session ends anyway; 0: never",
    )
    new_session_timeout: float = _option(
        values.seconds(0, _CENTURY),
        "600",
        "seconds without activity that end a visitor's session until the browser has sent its "
        "cookie back; 0: as any other",
    )
    max_sessions_per_user: int = _option(
        values.integer(0, 10**6),
        "100",
        "sessions of one user; a sign-in beyond it ends the least recently seen; 0: no limit",
    )
    expiry_interval: float = _option(
        values.seconds(0.05, 3600), "1", "seconds between two checks for expired sessions"
    )
    on_session_end: str = _option(
        values.choice("reconnect", "disconnect"),
        "reconnect",
        "what clients of an ended session are told: reconnect or disconnect",
    )
    cookie_name: str = _option(values.cookie_name, "latchkey", "name of the session cookie")
    cookie_secure: str = _option(
        values.choice("auto", "yes", "no"),
        "auto",
        "Secure attribute: yes, no, or auto: if the browser uses https",
    )
    cookie_samesite: str = _option(
        values.choice("lax", "strict", "none"), "lax", "SameSite attribute: lax, strict or none"
    )
    cookie_domain: str = _option(
        values.cookie_domain, "", "Domain attribute; empty: this host only"
    )
    cookie_partitioned: bool = _option(values.yes_no, "no", "Partitioned attribute: yes or no")
    allowed_hosts: tuple[str, ...] = _option(
        addresses.hosts,
        "",
        "host names to serve besides IP addresses, localhost and *.localhost, comma-separated; "
        "*.example.com for all names below, * for any; ports do not matter",
    )
    trusted_origins: tuple[str, ...] = _option(
        addresses.origins,
        "",
        "other origins whose pages may send requests with cookies, comma-separated, such as "
        "https://app.example.com, https://*.example.com, capacitor://localhost; empty: none",
    )
    frame_ancestors: tuple[str, ...] = _option(
        addresses.frame_ancestors,
        "",
        "origins whose pages may frame this site, comma-separated, written as trusted origins, "
        "or self; empty: none",
    )
    trusted_proxies: tuple[Network, ...] = _option(
        addresses.networks, "", "addresses or networks whose X-Forwarded-* count; empty: none"
    )
    hsts_max_age: int = _option(
        values.integer(0, _CENTURY),
        "31536000",
        "seconds for which a browser that came by https uses nothing else "
        "(Strict-Transport-Security); 0: browsers forget it",
    )
    hsts_scope: str = _option(
        values.choice("host", "subdomains", "preload"),
        "subdomains",
        "where that counts: on this host, on its subdomains too, or these in the browsers' own "
        "list (preload)",
    )
    registration: str = _option(
        values.choice("open", "closed"), "open", "whether visitors can register: open or closed"
    )
    password_min_length: int = _option(
        values.integer(8, 64),
        "8",
        "characters of a new password; NIST SP 800-63B-4 asks for 15 where a password is all that "
        "proves a user",
    )
    password_words: tuple[str, ...] = _option(
        values.comma_separated,
        "",
        "words that no password may be made of besides the names of the hosts, comma-separated: "
        "the names of the site, of its products; empty: none more",
    )
    log_format: str = _option(
        values.choice("text", "json"), "text", "form of log lines: text or json"
    )
    log_level: str = _option(
        values.choice("debug", "info", "warning", "error"),
        "info",
        "least level of log lines: debug, info, warning or error",
    )
    access_log: bool = _option(
        values.yes_no, "no", "whether to log every request: its path without the query, its status"
    )
    tracing: str = _option(
        values.url("http", "https"),
        "",
        "collector of OpenTelemetry that gets traces by OTLP over HTTP, such as "
        "http://127.0.0.1:4318; empty: no traces",
    )
    mail: MailServer | None = _option(
        mail_server,
        "",
        "server that takes mails: smtp://USER:PASSWORD@HOST:PORT?from=ADDRESS or smtps://…; "
        "empty: no mails",
        secret=True,
    )
    ping_interval: float = _option(
        values.seconds(0.05, 3600), "25", "seconds between two heartbeats of a connection"
    )
    ping_timeout: float = _option(
        values.seconds(0.05, 3600), "20", "seconds that a client has to answer a heartbeat"
    )
    join_timeout: float = _option(
        values.seconds(0.05, 3600), "10", "seconds that a connection has to join a namespace"
    )
    drain_time: float = _option(
        values.seconds(0, 3600),
        "5",
        "seconds over which SIGTERM closes many connections, 0: all at once; their handlers then "
        "have as long to end",
    )
    stop_timeout: float = _option(
        values.seconds(0.05, 3600),
        "5",
        "seconds that on_stop of each module has when the process stops",
    )
    max_message_size: int = _option(
        values.integer(1024, 2**31 - 1),
        "1000000",
        "bytes that a request body, or a message with all its attachments, may have",
    )
    max_attachments: int = _option(
        values.integer(0, 99),
        "10",
        "number of binary values that a client's message may have; 0: none",
    )
    send_buffer: int = _option(
        values.integer(1024, 2**31 - 1),
        "1000000",
        "bytes that may wait for a client; with more, --send-timeout applies",
    )
    send_timeout: float = _option(
        values.seconds(0.05, 3600),
        "10",
        "seconds in which a client must take data while more than --send-buffer waits",
    )
    max_send_backlog: int = _option(
        values.integer(1024, 2**31 - 1),
        "64000000",
        "bytes that may wait for a client, even if it reads; at least --send-buffer",
    )
    max_connections_per_session: int = _option(
        values.integer(0, 10**6), "50", "connections of one session at a time; 0: no limit"
    )
    events_per_second: int = _option(
        values.integer(0, 10**6),
        "200",
        "events of one connection, in bursts of twice that; each 10 kB of a message count as one "
        "more; 0: no limit",
    )
    handshakes_per_minute: int = _option(
        values.integer(0, 10**6),
        "600",
        "handshakes of one address, and sessions that pages make; 0: no limit",
    )
    failed_logins_per_minute: int = _option(
        values.integer(0, 10**6), "10", "failed logins of one address and account; 0: no limit"
    )
    audit_days: int = _option(
        values.integer(0, 36_500),
        "365",
        "days for which the database keeps the audit events of accounts; 0: for ever",
    )
    public_url: str = _option(
        values.origin,
        "",
        "scheme and host of this site in links that are sent or printed, such as "
        "https://example.com; empty: https and the first of --allowed-hosts",
    )

    def __post_init__(self, own: Mapping[str, Any] | None) -> None:
        # under the name that dataclasses.replace asks for
        object.__setattr__(self, "own", MappingProxyType(dict(own or {})))
        if self.cookie_samesite == "none" and self.cookie_secure == "no":
            raise SettingsError(
                "--cookie-samesite none needs --cookie-secure yes or auto: "
                "browsers drop such a cookie unless it is Secure"
            )
        if self.cookie_partitioned and self.cookie_secure == "no":
            raise SettingsError(
                "--cookie-partitioned yes needs --cookie-secure yes or auto: "
                "browsers drop such a cookie unless it is Secure"
            )
        if self.hsts_scope == "preload" and self.hsts_max_age < _YEAR:
            raise SettingsError(
                f"--hsts-scope preload needs --hsts-max-age {_YEAR} or more: "
                "the list of the browsers takes no host with less"
            )
        if self.mail is not None and not self.public_link("/").startswith("http"):
            raise SettingsError(
                "--mail needs --public-url, such as https://example.com: links in mails begin with "
                "it, because the Host header of a request may be forged"
            )
        if self.secret_keys and self.secret_key_file is not None:
            raise SettingsError(
                "--secret-keys and --secret-key-file are both set; write the keys into the file, "
                "one a line, and leave --secret-keys out"
            )
        if self.shared and not self.secret_keys and self.secret_key_file is None:
            raise SettingsError(
                "--store redis needs --secret-key-file or --secret-keys, with the same keys in "
                "every process: each process must accept the cookies of the others"
            )

    @overload
    def of(self, module: type[R]) -> R: ...
    @overload
    def of(self, module: str) -> Any: ...
    def of(self, module: type[Any] | str) -> Any:
        """Return the settings of a module: by the class that declares them, or by its name.

        Type checkers know the result if the class is given. Raises LookupError if no module of
        this application declares them.
        """
        for name, own in self.of_modules.items():
            if name == module or type(own) is module:
                return own
        name = module if isinstance(module, str) else module.__name__
        raise LookupError(
            f"no module of this application declares the settings {name}; "
            "assign the class to `settings` in a module that is served"
        )

    @property
    def of_modules(self) -> Mapping[str, Any]:
        """Return the settings of modules by the module's name."""
        own: Mapping[str, Any] = self.__dict__["own"]
        return own

    @property
    def shared(self) -> bool:
        """Whether several processes share the sessions."""
        return store_urls.is_shared(self.store)

    @property
    def store_kind(self) -> str:
        """Where sessions are: "memory", "sqlite" or "redis"."""
        return "redis" if self.shared else self.store

    @property
    def database_kind(self) -> str:
        """Where accounts are: "sqlite" or "postgresql"."""
        return "sqlite" if self.database == "sqlite" else "postgresql"

    def public_link(self, path: str) -> str:
        """Return the address of a page in links for users; the path alone if none is known.

        `path` begins with a slash, and has no --base-path.
        """
        host = next((host for host in self.allowed_hosts if "*" not in host), "")
        site = self.public_url or (f"https://{host}" if host else "")
        return f"{site}{self.base_path}{path}"

    def make_data_dir(self) -> None:
        """Make the data folder if it is missing; raises OSError if it cannot be used."""
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.data_dir).close()
        except OSError as error:
            raise OSError(
                f"the folder {self.data_dir} cannot be made or written ({error.strerror}); "
                "choose another --data-dir, or give this user write access"
            ) from error
