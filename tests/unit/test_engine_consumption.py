"""What an engine uses is what its limits are enforced by: the container's cgroup, or its processes on a laptop."""

import os
from pathlib import Path

from functions.serve.engine.consumption import Meter

PAGE = os.sysconf("SC_PAGE_SIZE")


def process(proc: Path, pid: str, *, pages: tuple[int, int], ticks: int, children: str = "") -> Path:
    """A process: resident and shared pages, and what it worked."""
    folder = proc / pid
    (folder / "task" / pid).mkdir(parents=True, exist_ok=True)
    (folder / "statm").write_text(f"999999 {pages[0]} {pages[1]} 1 0 1 0\n")
    (folder / "stat").write_text(f"{pid} (a (name) x) S " + " ".join(["0"] * 10) + f" {ticks} {ticks} 0 0\n")
    (folder / "task" / pid / "children").write_text(children)
    return folder


def looked(meter: Meter) -> tuple[int, float]:
    """What a look finds; it has to find something."""
    used = meter.look()
    assert used is not None
    return used.memory_mb, used.cpu_percent


def test_on_a_laptop_the_processes_count(tmp_path: Path) -> None:
    """All of them, without what they share with others; one that has just ended is left out."""
    megabyte = (1 << 20) // PAGE
    main = process(tmp_path, "7", pages=(30 * megabyte, 10 * megabyte), ticks=0, children="8 9 ")
    process(tmp_path, "8", pages=(5 * megabyte, 0), ticks=0)
    (tmp_path / "self").symlink_to("7")
    meter = Meter(in_pod=False, proc=tmp_path, cgroup=tmp_path / "none")
    assert looked(meter) == (25, 0.0)
    (main / "stat").write_text((main / "stat").read_text().replace(" 0 0 0 0\n", " 900 0 0 0\n"))
    assert looked(meter)[1] > 0
    assert looked(meter) == (25, 0.0)


def test_in_a_pod_its_cgroup_counts(tmp_path: Path) -> None:
    """Without the page cache that the kernel would take back; processes are not asked."""
    (tmp_path / "memory.current").write_text(f"{300 << 20}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {100 << 20}\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1000\nuser_usec 1\n")
    meter = Meter(in_pod=True, proc=tmp_path / "none", cgroup=tmp_path)
    assert looked(meter) == (200, 0.0)
    (tmp_path / "cpu.stat").write_text("usage_usec 9000000\nuser_usec 1\n")
    assert looked(meter)[1] > 0


def test_outside_a_pod_no_cgroup_is_believed(tmp_path: Path) -> None:
    """On a laptop that is a container itself it would count everything that runs there."""
    (tmp_path / "memory.current").write_text("1\n")
    assert looked(Meter(in_pod=False, cgroup=tmp_path))[0] > 1


def test_a_look_is_cheap_and_real() -> None:
    """This very process has some megabytes; nothing has to be mocked for that."""
    assert looked(Meter(in_pod=False))[0] > 1


def test_what_cannot_be_read_costs_no_usage(tmp_path: Path) -> None:
    """The batch goes without the figure; a kernel without lists of children still counts the process itself."""
    (tmp_path / "memory.current").write_text("many\n")
    broken = Meter(in_pod=True, cgroup=tmp_path)
    assert [broken.look(), broken.look()] == [None, None]
    process(tmp_path, "7", pages=((1 << 20) // PAGE, 0), ticks=0)
    (tmp_path / "7" / "task" / "7" / "children").unlink()
    (tmp_path / "self").symlink_to("7")
    assert looked(Meter(in_pod=False, proc=tmp_path)) == (1, 0.0)
