"""How much memory a process may use, and how much of it is left."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usable_bytes(device: torch.device, fraction: float, sharers: int = 1) -> int:
    """Return how many bytes this process may still take on its device.

    Args:
        device: the model's device, with the weights loaded.
        fraction: share of the device's memory that all processes of this job may use, weights included.
        sharers: processes of this job that share the host's memory; a GPU has one process.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory * fraction) - torch.cuda.memory_reserved(
            device
        )
    return int(host_bytes() * fraction / sharers) - _resident_bytes()


def host_bytes() -> int:
    """Return the memory of this machine, or of its container if that is limited."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    given = [Path(name).read_text().strip() for name in _LIMITS if Path(name).is_file()]
    return min([total, *(int(limit) for limit in given if limit.isdigit())])


def _resident_bytes() -> int:
    """Return the resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
