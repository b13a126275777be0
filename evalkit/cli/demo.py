"""``demo``: the embedded demo."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli.parser import Subparsers, add_command


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "demo", command, "evalkit demo --out demo", json_flag=False)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to create")


def command(args: argparse.Namespace) -> int:
    """Write the embedded demo: data of every benchmark, a tiny trained checkpoint and a made-up judge's replies."""
    from evalkit.demo import write_demo

    paths = write_demo(Path(args.out))
    print(
        f"data root:  {paths.data_root}\ncheckpoint: {paths.checkpoint} (tiny: its scores say nothing about InternVL2)"
    )
    print(f"next: evalkit run --model {paths.checkpoint} --card internvl2 --data-root {paths.data_root} --out RUN")
    judged = ",".join(sorted(folder.name for folder in paths.judges.iterdir()))
    print(f"then: evalkit judge RUN --judge replay:{paths.judges} --tasks {judged} (made-up replies)")
    return 0
