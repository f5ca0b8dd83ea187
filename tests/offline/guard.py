"""Refuse every connection that leaves this machine, so that tests prove nothing needs a network."""

import ipaddress
import socket
from typing import Any

REFUSAL = "the tests run without a network"
_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_sendto = socket.socket.sendto
_getaddrinfo = socket.getaddrinfo
_gethostbyname = socket.gethostbyname


def _is_local(host: Any) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


def _check(address: Any) -> None:
    if isinstance(address, tuple) and not _is_local(address[0]):
        raise OSError(f"{REFUSAL}; refused: {address[0]}")


def install() -> None:
    """Guard this process: name look-ups and connections beyond the loopback raise OSError."""

    def connect(self: socket.socket, address: Any) -> None:
        _check(address)
        return _connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        _check(address)
        return _connect_ex(self, address)

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        if not _is_local(host):
            raise socket.gaierror(socket.EAI_NONAME, f"{REFUSAL}; refused: {host}")
        return _getaddrinfo(host, *rest, **options)

    def sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        _check(rest[-1])
        return _sendto(self, data, *rest)

    def gethostbyname(host: str) -> str:
        if not _is_local(host):
            raise socket.gaierror(socket.EAI_NONAME, f"{REFUSAL}; refused: {host}")
        return _gethostbyname(host)

    socket.socket.sendto = sendto  # type: ignore[method-assign]
    socket.gethostbyname = gethostbyname
    socket.socket.connect = connect  # type: ignore[method-assign]
    socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = getaddrinfo
