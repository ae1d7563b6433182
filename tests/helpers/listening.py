"""Where processes listen."""

from __future__ import annotations

from ipaddress import ip_address

import psutil


def listening_addresses(pid: int) -> set[str]:
    """Return every address that a process, or one it has started, takes connections on."""
    process, found = psutil.Process(pid), set()
    for each in [process, *process.children(recursive=True)]:
        try:
            sockets = each.net_connections(kind="inet")
        except psutil.NoSuchProcess:
            continue
        found |= {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
    return found


def assert_listens_on_loopback_only(pid: int) -> None:
    reachable = {address for address in listening_addresses(pid) if not ip_address(address).is_loopback}
    assert not reachable, f"{psutil.Process(pid).cmdline()} listens on {reachable}"
