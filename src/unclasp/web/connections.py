"""Checks of the connections of the web page's server."""

import ipaddress
import re
import selectors
import socket
import sys
from typing import Final

_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address: localhost, 127.0.0.0/8 or ::1."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_loopback(authority: str) -> bool:
    """Return whether a Host header names a loopback address, with or without a port, and nothing else."""
    found = _AUTHORITY.fullmatch(authority)
    return found is not None and is_loopback(found[1].strip("[]").lower())


def is_closed(connection: socket.socket) -> bool:
    """Return whether the peer has closed a connection, without blocking and without consuming data."""
    with selectors.DefaultSelector() as selector:  # on a socket with a timeout, recv would wait whatever its flags
        selector.register(connection, selectors.EVENT_READ)
        if not selector.select(timeout=0):
            return False
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except ConnectionError:
        return True


def went_away() -> bool:
    """Return whether the exception being handled means that the peer disconnected or timed out."""
    return isinstance(sys.exception(), ConnectionError | TimeoutError)
