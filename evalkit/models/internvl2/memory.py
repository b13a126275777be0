"""How much memory a process may use, and what is left of it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usable_bytes(device: torch.device, fraction: float, sharers: int = 1) -> int:
    """Return how many bytes this process may still take on its device.

    Args:
        device: where the model is, its weights loaded.
        fraction: share of the device's memory that processes of this job may use in all, weights included.
        sharers: processes of this job on one CPU's memory; a GPU is used by one.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory * fraction) - torch.cuda.memory_reserved(
            device
        )
    return int(host_bytes() * fraction / sharers) - _resident_bytes()


def host_bytes() -> int:
    """Return the memory of this machine, or what a container leaves of it."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    given = [Path(name).read_text().strip() for name in _LIMITS if Path(name).is_file()]
    return min([total, *(int(limit) for limit in given if limit.isdigit())])


def _resident_bytes() -> int:
    """Return the memory that this process has now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
