"""A DNS server that answers as the one of a Kubernetes cluster does for two Services."""

from __future__ import annotations

import asyncio
import socket
import struct

_READY = "latchkey-ready.latchkey.svc.cluster.local"
_POD = "latchkey-{}.latchkey.latchkey.svc.cluster.local"
_TTL = 5  # seconds, as CoreDNS says


class NameServer(asyncio.DatagramProtocol):
    """Knows the address of each pod, and which pods are ready."""

    def __init__(self, addresses: list[str]) -> None:
        self.ready = set(addresses)
        self.port = 0
        #: How often somebody asked for the pods that are ready.
        self.questions = 0
        self._pods = {_POD.format(number): [each] for number, each in enumerate(addresses)}

    async def start(self) -> None:
        """Listen on a free loopback port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        self._transport = transport

    def stop(self) -> None:
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a question for A records; NXDOMAIN if the name has none (RFC 1035, 4.1)."""
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        name, question = ".".join(labels), data[12 : at + 5]
        self.questions += name == _READY
        found = sorted(self.ready) if name == _READY else self._pods.get(name, [])
        flags = 0x8580 if found else 0x8583
        head = data[:2] + struct.pack("!5H", flags, 1, len(found), 0, 0)
        records = [
            struct.pack("!3HIH", 0xC00C, 1, 1, _TTL, 4) + socket.inet_aton(each) for each in found
        ]
        self._transport.sendto(head + question + b"".join(records), addr)
