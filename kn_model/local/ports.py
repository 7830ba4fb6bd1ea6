"""Free TCP ports on loopback. Called by the dependencies, which listen on ports nobody has to know."""

import socket

LOOPBACK = "127.0.0.1"
HIGHEST = 65535


def free(count: int, *, below: int = HIGHEST) -> list[int]:
    """`count` different ports that are free now and lower than `below`.

    Another process may take one before it is used: whoever asks must start again with new ones when that happens.
    """
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        while len(found) < count:
            probe = socket.socket()
            held.append(probe)
            probe.bind((LOOPBACK, 0))
            port = probe.getsockname()[1]
            if port < below:
                found.append(port)
    finally:
        for probe in held:
            probe.close()
    return found


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT from the last run is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
