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
    """Write the embedded demo: data of all six benchmarks and a tiny trained checkpoint."""
    from evalkit.demo import write_demo

    paths = write_demo(Path(args.out))
    print(
        f"data root:  {paths.data_root}\ncheckpoint: {paths.checkpoint} (tiny: its scores say nothing about InternVL2)"
    )
    print(f"next: evalkit run --model {paths.checkpoint} --card internvl2 --data-root {paths.data_root} --out RUN")
    return 0
