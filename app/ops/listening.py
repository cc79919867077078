"""The sockets that the process listens on: of systemd, of --host and --port, of --unix-socket."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from app.common import unix_socket
from app.common.unix_socket import UnixSocket
from app.ops.systemd import inherited_sockets
from app.settings import Settings

_BACKLOG = 1024  # connections that may wait to be accepted
_UNAVAILABLE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class Listening:
    """Listening sockets, and the files of those that this process has made."""

    def __init__(self, sockets: list[socket.socket], *, inherited: bool = False) -> None:
        self.sockets = sockets
        #: Whether another process keeps them open when this one stops.
        self.inherited = inherited
        self._made: list[UnixSocket] = []

    def add_unix(self, made: UnixSocket) -> None:
        """Add a Unix socket whose file is removed at the end."""
        self.sockets.append(made.sock)
        self._made.append(made)

    def addresses(self, base_path: str = "") -> list[str]:
        """Return the URLs of the sockets; that of a Unix socket is unix:PATH."""
        return [_url(sock, base_path) for sock in self.sockets]

    def remove_files(self) -> None:
        """Delete the files of the Unix sockets, so that no client connects from now on."""
        for made in self._made:
            made.remove()

    def close(self) -> None:
        """Close all of them."""
        self.remove_files()
        for sock in self.sockets:
            sock.close()


def listen(settings: Settings) -> Listening:
    """Listen as the settings say, or on the sockets that systemd has passed instead.

    Raises OSError with a sentence that says what to do.
    """
    inherited = inherited_sockets()
    if inherited:
        return Listening(inherited, inherited=True)
    listening = Listening([])
    try:
        _listen_on_hosts(listening.sockets, settings.host, settings.port)
        if settings.unix_socket is not None:
            listening.add_unix(_unix(settings.unix_socket, settings.unix_socket_mode))
    except BaseException:
        listening.close()
        raise
    return listening


def _listen_on_hosts(sockets: list[socket.socket], hosts: Sequence[str], port: int) -> None:
    """Add sockets of these hosts; port 0 is a free one, the same for all of them."""
    taken: set[tuple[socket.AddressFamily, str]] = set()
    for host in hosts:
        unavailable: OSError | None = None
        before = len(sockets)
        for family, address in resolve(host):
            if (family, address) in taken:
                continue
            try:
                sockets.append(_tcp(family, address, port))
            except OSError as error:
                if error.errno not in _UNAVAILABLE:
                    raise _cannot_listen(address, port, error) from error
                unavailable = error  # localhost is ::1 too, also on a machine without IPv6
                continue
            taken.add((family, address))
            port = port or sockets[0].getsockname()[1]
        if unavailable is not None and len(sockets) == before:
            raise _cannot_listen(host, port, unavailable) from unavailable


def resolve(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses of a host, those of IPv4 first; raises OSError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise OSError(
            f"cannot listen on {host} ({error.strerror}); choose another --host"
        ) from error
    addresses = {(info[0], socket.getnameinfo(info[4], _NUMERIC)[0]) for info in found}
    return sorted(addresses, key=lambda address: (address[0] != socket.AF_INET, address[1]))


def _tcp(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # :: is every IPv6 address; 0.0.0.0 may be listened on beside it
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)[0][4])
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _cannot_listen(host: str, port: int, error: OSError) -> OSError:
    """Return an error with what to do."""
    taken = error.errno == errno.EADDRINUSE
    remedy = "--port, or stop the program that has it" if taken else "--host or --port"
    return OSError(
        f"cannot listen on {host} port {port} ({error.strerror}); choose another {remedy}"
    )


def _unix(path: Path, mode: int) -> UnixSocket:
    try:
        return unix_socket.listen(path, mode, backlog=_BACKLOG)
    except unix_socket.SocketInUse as error:
        raise OSError(
            f"cannot listen on {path} ({error.strerror}); stop that one, or choose another "
            "--unix-socket"
        ) from error
    except OSError as error:
        raise OSError(
            f"cannot listen on {path} ({error.strerror or error}); choose another --unix-socket, "
            "in a folder that is there and that this user may write"
        ) from error


def _url(sock: socket.socket, base_path: str) -> str:
    if sock.family == socket.AF_UNIX:
        name = sock.getsockname()
        return f"unix:{os.fsdecode(name)}"
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{base_path}"
