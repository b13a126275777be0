"""The options of ``evalkit run`` and ``evalkit judge``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evalkit.options import option


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of ``evalkit run``, documented by their help texts."""

    model: str = option("checkpoint folder, Hub id or SCHEME:REST, e.g. replay:FILE-or-RUN", metavar="M")
    data_root: Path = option("folder with the official data/ content, or its parent", metavar="D")
    out: Path = option("run folder; an existing one is resumed", metavar="RUN")
    card: str | None = option("card name or YAML file (default: internvl2)", None, metavar="CARD")
    tasks: tuple[str, ...] = option("run only these tasks (default: the card's rows)", (), metavar="A,B", parse="names")
    plugin: tuple[str, ...] = option("plugin file with TASKS or MODELS (repeatable)", (), metavar="FILE")
    limit: int | None = option("use only the first N samples of each task", None, metavar="N", parse="positive")
    model_option: tuple[tuple[str, str], ...] = option(
        "model option, e.g. memory_fraction=0.5 (repeatable)",
        (),
        metavar="KEY=VALUE",
        parse="pair",
        flags=("-M", "--model-option"),
    )
    engine: Literal["grouped", "reference"] | None = option("same as -M engine=...", None)
    dtype: str | None = option("same as -M dtype=... (default: bfloat16 on CUDA, else float32)", None)
    device: str | None = option("same as -M device=... (default: CUDA if available, else cpu)", None)
    audit: int = option("rerun N samples of each task with the reference engine", 0, metavar="N", parse="positive")
    lease: int = option("seconds without heartbeat before other ranks take over", 600, metavar="S", parse="positive")
    media_timeout: int = option("seconds allowed for decoding one file", 120, metavar="S", parse="positive")

    @property
    def model_options(self) -> dict[str, str]:
        """The options of the model by name, shorthands included."""
        short = {"engine": self.engine, "dtype": self.dtype, "device": self.device}
        return dict(self.model_option) | {name: value for name, value in short.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """The options of ``evalkit judge``."""

    judge: str = option("judge model, SCHEME:REST, e.g. replay:J.jsonl", metavar="M")
    judge_name: str | None = option("name to record for the judge (default: the model's)", None, metavar="NAME")
    tasks: tuple[str, ...] = option("judge only these tasks", (), metavar="A,B", parse="names")
    data_root: str | None = option(
        "folder with the official data/ content, or its parent (default: the run's)", None, metavar="D"
    )
    plugin: tuple[str, ...] = option("plugin file with MODELS (repeatable)", (), metavar="FILE")
    model_option: tuple[tuple[str, str], ...] = option(
        "model option (repeatable)", (), metavar="KEY=VALUE", parse="pair", flags=("-M", "--model-option")
    )
