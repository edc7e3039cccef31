"""Sockets of one port that several processes listen on; the kernel spreads connections over them."""

from __future__ import annotations

import socket


def bound(host: str, port: int) -> socket.socket:
    """A socket that is bound and shares its port. Raises `OSError`."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found
