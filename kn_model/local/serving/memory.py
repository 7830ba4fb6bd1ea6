"""How much memory a process and all its descendants hold, read from /proc.

Called by `replicas.py` to hold instances to their memory limit. There is no cgroup to do it on a laptop without root, so
a limit is watched and not enforced by the kernel: an instance can be over it for up to one tick.
"""

from pathlib import Path
from typing import Final

_PAGE: Final = 4096
_RESIDENT, _SHARED = 1, 2  # columns of /proc/<pid>/statm (proc(5))


def held(pid: int, proc: Path = Path("/proc")) -> int:
    """Bytes that `pid` and its descendants hold for themselves; 0 for what has ended meanwhile.

    Pages shared with others (libraries, mapped weights) are left out: a cgroup charges them once, not to each process.
    """
    try:
        columns = (proc / str(pid) / "statm").read_text().split()
        children = (proc / str(pid) / "task" / str(pid) / "children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    own = (int(columns[_RESIDENT]) - int(columns[_SHARED])) * _PAGE
    return own + sum(held(int(child), proc) for child in children)
