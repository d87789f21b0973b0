"""Questions about the other side of a connection of the web page's server."""

import ipaddress
import selectors
import socket
import sys


def is_loopback(host: str) -> bool:
    """Tell whether a host is this computer's own address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_closed(connection: socket.socket) -> bool:
    """Tell, at once and without taking what it has sent, whether the other side has closed a connection."""
    with selectors.DefaultSelector() as selector:  # a socket with a timeout would wait, whatever the flags of recv
        selector.register(connection, selectors.EVENT_READ)
        if not selector.select(timeout=0):
            return False
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except ConnectionError:
        return True


def went_away() -> bool:
    """Tell whether the exception that is being handled is the other side's going away or falling silent."""
    return isinstance(sys.exception(), ConnectionError | TimeoutError)
