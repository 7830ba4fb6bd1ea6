"""The GPUs of this machine, handed to one instance each: `nvidia.com/gpu` of a manifest.

Used by `launcher.py`.
"""

from collections.abc import Sequence
from pathlib import Path


class NotEnoughGpus(Exception):
    """In the words of Kubernetes' scheduler, which `kn` shows as the revision's reason."""

    def __init__(self) -> None:
        super().__init__("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")


class Gpus:
    """Which GPUs are free. One device belongs to one instance at a time, as under Kubernetes."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._free = list(devices)

    def take(self, count: int) -> tuple[str, ...]:
        """The indices of `count` free GPUs, for CUDA_VISIBLE_DEVICES. Raises NotEnoughGpus."""
        if count > len(self._free):
            raise NotEnoughGpus
        taken, self._free = self._free[:count], self._free[count:]
        return tuple(taken)

    def give_back(self, devices: Sequence[str]) -> None:
        """They are free again."""
        self._free.extend(devices)


def present(devices: Path = Path("/dev")) -> Sequence[str]:
    """The indices of the NVIDIA devices that the driver made files for: /dev/nvidia0, /dev/nvidia1 ..."""
    found = (path.name.removeprefix("nvidia") for path in devices.glob("nvidia[0-9]*"))
    return sorted(found, key=int)
