"""The account PostgreSQL runs under when the runtime itself is root, as in most containers.

PostgreSQL refuses to run as root. Called by `postgres.py`. In order of preference:

1. not root: nothing to do;
2. a user namespace in which our root is seen as an ordinary user: files stay reachable wherever the clone lies,
   `/root` included, because outside the namespace the process still is the files' owner (but without capabilities);
3. where the kernel or a container's seccomp profile refuses namespaces: the account `nobody`, if it can reach the files.
"""

import contextlib
import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # linux/sched.h
NOBODY = 65534
# Any id but 0: PostgreSQL only asks whether it is root.
SEEN_AS = 1000

LIBC = ctypes.CDLL(None, use_errno=True)


class NoAccountError(Exception):
    """PostgreSQL does not run as root and no other account can reach its files"""


@dataclass(frozen=True)
class Account:
    """How a child becomes a user that PostgreSQL accepts, and who has to own its data."""

    prepare: Callable[[], None] | None
    owner: int

    def own(self, path: Path) -> None:
        """Give a tree to the account, when an earlier run left it to another."""
        if path.exists() and path.stat().st_uid != self.owner:
            for entry in (path, *path.rglob("*")):
                os.chown(entry, self.owner, self.owner, follow_symlinks=False)


def choose(*needed: Path) -> Account:
    """The account for programs and data under `needed`; NoAccountError says what to do when there is none."""
    if os.geteuid() != 0:
        return Account(prepare=None, owner=os.geteuid())
    if _works(enter_namespace):
        return Account(prepare=enter_namespace, owner=0)
    if all(_works(become_nobody, path) for path in needed):
        return Account(prepare=become_nobody, owner=NOBODY)
    raise NoAccountError(
        "PostgreSQL does not run as root, this system allows no user namespace, and the account nobody cannot reach "
        f"{', '.join(map(str, needed))}. Run as an ordinary user, move the clone outside a private folder such as "
        "/root, or set TORPOR_DATABASE_URL to a PostgreSQL that runs elsewhere."
    )


def enter_namespace() -> None:
    """In the child: see ourselves as an ordinary user. OSError when the system refuses (user_namespaces(7))."""
    user, group = os.geteuid(), os.getegid()
    if LIBC.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    # The kernel lets a process map its own ids only after it gave up changing its groups.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{SEEN_AS} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{SEEN_AS} {group} 1")


def become_nobody() -> None:
    """In the child: the account without rights."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _works(become: Callable[[], None], reach: Path | None = None) -> bool:
    """Try it in a child that does nothing else: whether it succeeds, and whether `reach` can be entered after it."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            become()
            if reach is None or os.access(reach, os.R_OK | os.X_OK):
                os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0
