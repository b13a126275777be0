"""``report`` and ``plot``: a run as one HTML file, and plots as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from evalkit.cli.options import add_card, add_data_root, positive
from evalkit.cli.parser import Subparsers, add_command


def add(commands: Subparsers) -> None:
    """Add the commands."""
    parser = add_command(commands, "plot", plot_command, "evalkit plot RUN1 RUN2 --out plots", json_flag=False)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the files")
    add_card(parser, "internvl2")
    add_data_root(parser, required=False, default="the run's")

    example = "evalkit report RUN --against BASE --out report.html"
    parser = add_command(commands, "report", command, example, json_flag=False)
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "--against", metavar="BASE", help="run folder to compare with: adds its answers, flips and differences"
    )
    parser.add_argument("--out", required=True, metavar="FILE.html", help="HTML file to write")
    parser.add_argument(
        "--images", type=positive, default=400, metavar="N", help="most images and videos to embed (default: 400)"
    )
    add_card(parser, "internvl2")
    add_data_root(parser, required=False, default="the run's")


def command(args: argparse.Namespace) -> int:
    """Write a run as one HTML file: tables, plots and every sample with its images, boxes, prompt and answer."""
    from evalkit.report.file import ReportOptions, write_report

    options = ReportOptions(
        run=Path(args.run),
        out=Path(args.out),
        against=Path(args.against) if args.against else None,
        card=args.card,
        data_root=args.data_root,
        images=args.images,
    )
    code = write_report(options)
    print(f"{args.out}: {options.out.stat().st_size / 2**20:.1f} MiB")
    return code


def plot_command(args: argparse.Namespace) -> int:
    """Draw the plots of runs as SVG and PNG files."""
    from evalkit.report.plot_data import write_plots

    for path in write_plots([Path(run) for run in args.runs], Path(args.out), args.card, args.data_root):
        print(path)
    return 0
