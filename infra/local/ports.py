"""Ports of this machine on which a server can be started.

A port is chosen now and taken seconds later. One that the kernel was asked for comes of the range it also gives to whoever
connects somewhere, so meanwhile it may be anybody's; ports below that range are given to nobody.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Container
from typing import Final

FIRST: Final = 10_000
END: Final = 32_000
"""Linux gives those who connect ports from 32,768 on, others from 49,152."""


def free_port(taken: Container[int] = ()) -> int:
    """A port on which nobody listens, and which is none of these; two who ask at once hardly ever get the same."""
    while True:
        port = FIRST + secrets.randbelow(END - FIRST)
        if port not in taken and is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 at ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
