"""Models that answer requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.errors import UsageError

if TYPE_CHECKING:
    import torch

    from evalkit.models.base import Model
    from evalkit.models.internvl2.model import InternVL2Model

DTYPES = ("auto", "float32", "bfloat16", "float16")
ATTENTION = ("sdpa", "eager")
MEMORY_FRACTION = 0.8


def load_model(
    path: str,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "sdpa",
    engine: str = "grouped",
    memory_fraction: float = MEMORY_FRACTION,
    sharers: int = 1,
) -> InternVL2Model:
    """Load an InternVL2 checkpoint.

    Args:
        path: a checkpoint folder in the official layout, or a Hub id.
        device: ``auto`` (CUDA if there is one, else the CPU) or a torch device.
        dtype: ``auto`` (bfloat16 on CUDA, float32 on the CPU) or a torch dtype's name.
        attention: ``sdpa`` or ``eager``. The released config asks for flash attention; torch's SDPA takes its flash
            kernels where the device has them, so no extra package is needed.
        engine: ``grouped`` or ``reference`` (one question at a time).
        memory_fraction: share of the device's memory that the job may use, weights included.
        sharers: processes of the job on this machine.

    Raises:
        UsageError: the checkpoint or the device cannot be used.
    """
    import torch

    from evalkit.models.internvl2.config import resolve_checkpoint
    from evalkit.models.internvl2.model import InternVL2Model

    place = resolve_device(device)
    if dtype == "auto":
        dtype = "bfloat16" if place.type == "cuda" else "float32"
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is unknown; choose one of {', '.join(DTYPES)}")
    folder, kind = resolve_checkpoint(path), getattr(torch, dtype)
    return InternVL2Model(folder, place, kind, attention, engine == "grouped", memory_fraction, sharers)


def resolve_device(device: str) -> torch.device:
    """Return a usable torch device; ``auto`` is CUDA if there is one, else the CPU.

    Raises:
        UsageError: it cannot be used.
    """
    import torch

    from evalkit.models.internvl2.config import first_line

    try:
        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UsageError(f"device {device!r} cannot be used: {first_line(error)}") from error
    return place


def open_model(
    name: str, device: str, dtype: str, attention: str, engine: str, memory_fraction: float, sharers: int
) -> Model:
    """Open what ``--model`` names: ``replay:FILE-or-RUN``, a checkpoint folder or a Hub id.

    Raises:
        UsageError: it cannot be opened.
    """
    if name.startswith("replay:"):
        from evalkit.models.replay import ReplayModel

        return ReplayModel(Path(name.removeprefix("replay:")))
    return load_model(name, device, dtype, attention, engine, memory_fraction, sharers)
