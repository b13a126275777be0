"""evalkit reproduces the benchmark tables of the InternVL2-1B model card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.models import load_model

__all__ = ["__version__", "load_model"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazy: importing evalkit must not import torch.
    if name == "load_model":
        from evalkit.models import load_model

        return load_model
    raise AttributeError(f"module 'evalkit' has no attribute {name!r}")
