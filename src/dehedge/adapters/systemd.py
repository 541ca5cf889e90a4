"""Tells systemd how the daemon is (``Type=notify`` with a watchdog); does nothing where no socket is given.

Ten lines of a stable protocol: a datagram to the socket named in ``NOTIFY_SOCKET``.
"""

from __future__ import annotations

import os
import socket

TIMEOUT_S = 0.1


def notify(state: str) -> None:
    """Send one state, such as ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1``. Never raises, never waits for long."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(TIMEOUT_S)
            sender.sendto(state.encode("utf-8", "replace"), name)
    except OSError:
        pass  # A supervisor that is gone, or does not listen, must not take the daemon with it.
