"""The command line: one thin function per command. Human text goes to stderr, data to stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from evalkit.errors import EvalkitError, UsageError, missing_extra

INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Reports a usage error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(UsageError.exit_code, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _emit(content: Any) -> None:
    print(json.dumps(content, ensure_ascii=False, indent=1))


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return number


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of points from 0 to 100")
    return value


def _server_score(text: str) -> tuple[str, float]:
    name, _, score = text.partition("=")
    return name, _points(score)


def _level(text: str) -> float:
    value = _points(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no level between 0 and 1")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("names no task")
    return names


def tasks_command(args: argparse.Namespace) -> int:
    """List every task and split."""
    from evalkit.commands.listing import describe_tasks, task_lines
    from evalkit.data.root import DataRoot

    root = DataRoot(args.data_root) if args.data_root else None
    rows = describe_tasks(args.plugin, args.card, root)
    if args.json:
        _emit(rows)
    else:
        print("\n".join(task_lines(rows)))
    return 0


def show_command(args: argparse.Namespace) -> int:
    """Show exactly what the model would be sent."""
    from evalkit.commands.job import build_jobs, report_gaps, select, tile_size_of
    from evalkit.commands.listing import describe_requests, request_lines
    from evalkit.data.root import DataRoot

    root = DataRoot(args.data_root)
    selection = select(args.card, [args.task], args.plugin, root)
    tile_size = tile_size_of(args.model, selection.card) if args.model else selection.card.tile_size
    (job,) = build_jobs(selection, root, args.limit, tile_size)
    shown = describe_requests(job, root, args.model)
    if args.json:
        _emit(shown)
    else:
        print("\n".join(request_lines(shown)))
    return report_gaps({}, selection.missing, None)


def run_command(args: argparse.Namespace) -> int:
    """Run inference and score, alone or as a rank of torchrun; a second start continues."""
    from evalkit.commands.job import RunOptions, execute
    from evalkit.run.ranks import join

    options = RunOptions(
        model=args.model,
        data_root=Path(args.data_root),
        out=Path(args.out),
        card=args.card,
        tasks=args.tasks,
        plugins=tuple(args.plugin),
        limit=args.limit,
        engine=args.engine,
        dtype=args.dtype,
        device=args.device,
        attention=args.attention,
        audit=args.audit,
        memory_fraction=args.memory_fraction,
        lease=args.lease,
        media_timeout=args.media_timeout,
        trust_remote_code=args.trust_remote_code,
    )
    if args.dry_run:
        from evalkit.commands.estimate import estimate, estimate_lines

        rows = estimate(options)
        if args.json:
            _emit(rows)
        else:
            print("\n".join(estimate_lines(rows)))
        return 0
    ranks = join(args.lease)
    if ranks is None:  # the other ranks have finished already
        return 0
    ended = execute(options, ranks, sys.argv)
    if args.json and ended.leader:
        print((options.out / "scores.json").read_text(encoding="utf-8"), end="")
    return ended.code


def status_command(args: argparse.Namespace) -> int:
    """Say how far a run is, from any terminal: answers per task, ranks that live, what failed."""
    from evalkit.commands.status import run_status, status_lines

    status = run_status(Path(args.run))
    if args.json:
        _emit(status)
    else:
        print("\n".join(status_lines(status)))
    return 0


def score_command(args: argparse.Namespace) -> int:
    """Score recorded responses; no torch."""
    from evalkit.commands.rescore import score_foreign, score_run

    if args.run:
        given = ("task", "predictions", "card", "out", "allow_missing", "plugin")
        if any(getattr(args, name) for name in given):
            raise UsageError("score RUN takes only --data-root, --server-score and --json: the rest is in its run.json")
        report = score_run(Path(args.run), args.data_root, dict(args.server_score))
    else:
        if not (args.task and args.predictions and args.data_root):
            raise UsageError("score takes a run folder, or --task, --predictions and --data-root")
        if args.server_score:
            raise UsageError("--server-score is kept in a run folder: evalkit score RUN --server-score TASK=SCORE")
        out = Path(args.out) if args.out else None
        report = score_foreign(
            args.task, Path(args.predictions), args.data_root, args.card, args.plugin, out, args.allow_missing
        )
    if args.json:
        _emit(report.scores)
    else:
        print(report.text, end="")
    return report.exit_code


def table_command(args: argparse.Namespace) -> int:
    """Print the card's tables, published columns beside ours."""
    from evalkit.commands.tables import table_text

    print(table_text([Path(run) for run in args.runs], args.card, args.format, args.compact), end="")
    return 0


def report_command(args: argparse.Namespace) -> int:
    """Write a run as one HTML file: tables, plots and every sample with its picture, boxes, prompt and answer."""
    from evalkit.commands.report import ReportOptions, write_report

    against = Path(args.against) if args.against else None
    options = ReportOptions(
        run=Path(args.run),
        out=Path(args.out),
        against=against,
        card=args.card,
        data_root=args.data_root,
        images=args.images,
    )
    code = write_report(options)
    print(f"{args.out}: {options.out.stat().st_size / 2**20:.1f} MiB")
    return code


def plot_command(args: argparse.Namespace) -> int:
    """Draw the plots of runs as SVG and PNG files."""
    from evalkit.commands.plots import write_plots

    for path in write_plots([Path(run) for run in args.runs], Path(args.out), args.card, args.data_root):
        print(path)
    return 0


def compare_command(args: argparse.Namespace) -> int:
    """Compare two runs: paired differences, flipped samples, settings that differ."""
    from evalkit.commands.results import compare_folders
    from evalkit.report.compare import comparison_lines

    found = compare_folders(Path(args.run), Path(args.base), args.alpha)
    if args.json:
        _emit(found.comparison.to_json() | {"notes": found.notes})
    else:
        print("\n".join([*comparison_lines(found.comparison), *dict.fromkeys(found.notes)]))
    return 0


def check_command(args: argparse.Namespace) -> int:
    """Gate a run: exit 1 if it is significantly worse than a baseline run or the published numbers."""
    from evalkit.card import load_card
    from evalkit.commands.results import RunFolder, compare_folders
    from evalkit.report.compare import comparison_lines
    from evalkit.report.gate import against_published, against_run, gate_lines, junit_xml

    lines: list[str] = []
    if args.baseline == "published":
        card = load_card(args.card)
        gate = against_published(card, RunFolder(Path(args.run), card), args.max_drop)
    else:
        found = compare_folders(Path(args.run), Path(args.baseline), args.alpha)
        gate = against_run(found.comparison, found.lost, args.alpha, args.max_drop)
        lines = ["", *comparison_lines(found.comparison), *dict.fromkeys(found.notes)]
    text = "\n".join([*gate_lines(gate), *lines]) + "\n"
    if args.summary:
        with Path(args.summary).open("a", encoding="utf-8") as file:  # a step summary is appended to
            file.write(text)
    if args.junit:
        Path(args.junit).write_text(junit_xml(gate), encoding="utf-8")
    if args.json:
        _emit(gate.to_json())
    else:
        print(text, end="")
    return gate.exit_code


def submit_command(args: argparse.Namespace) -> int:
    """Write a validated submission file for a split whose answers a server holds."""
    from evalkit.commands.rescore import submit

    count = submit(Path(args.run), args.task, Path(args.out), args.data_root)
    print(f"{args.out}: {count} answers of {args.task}")
    return 0


def demo_command(args: argparse.Namespace) -> int:
    """Write the embedded demo: data of all six benchmarks and a tiny trained checkpoint."""
    from evalkit.demo import write_demo

    paths = write_demo(Path(args.out))
    print(f"data root:  {paths.data_root}\ncheckpoint: {paths.checkpoint} (tiny: its scores say nothing of InternVL2)")
    print(f"next: evalkit run --model {paths.checkpoint} --card internvl2 --data-root {paths.data_root} --out RUN")
    return 0


def data_check_command(args: argparse.Namespace) -> int:
    """Check a data root against the official counts; say what is missing."""
    from evalkit.commands.integrity import check_lines, check_tasks
    from evalkit.data.root import DataRoot
    from evalkit.registry import choose, load_tasks

    tasks = load_tasks(args.plugin)
    chosen = choose(tasks, args.tasks or tasks)
    rows = check_tasks(chosen, DataRoot(args.data_root))
    if args.json:
        _emit(rows)
    else:
        print("\n".join(check_lines(rows)))
    return 0 if all(row["complete"] for row in rows) else 3


def data_fetch_command(args: argparse.Namespace) -> int:
    """Fetch a task from the Hub and write it in the official layout."""
    from evalkit.data.hub import fetch
    from evalkit.data.root import DataRoot
    from evalkit.registry import choose, load_tasks

    Path(args.data_root).mkdir(parents=True, exist_ok=True)
    (task,) = choose(load_tasks(args.plugin), [args.task])
    if task.hub is None:
        raise UsageError(f"task {task.name!r} has no copy of the same samples on the Hub; get it so: {task.get}")
    _emit(fetch(task.name, task.hub, DataRoot(args.data_root), args.revision, args.source))
    return 0


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], example: str, *, json_flag: bool = True
) -> argparse.ArgumentParser:
    about = (run.__doc__ or "").strip()
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=about,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run_command=run)
    if json_flag:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="a task plugin (repeatable)")


def _card(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument("--card", default=default, help="a card's name or YAML file (default: internvl2)")


def _data_root(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument(
        "--data-root", required=required, metavar="D", help="the folder with the official data/ content, or its parent"
    )


def _alpha(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alpha", type=_level, default=0.05, metavar="A", help="accepted chance of a false alarm (default: 0.05)"
    )


def _limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=_positive, metavar="N", help="the first N samples of each task")


def _add_reading_commands(commands: Any) -> None:
    parser = _command(commands, "tasks", tasks_command, "evalkit tasks --data-root D")
    _data_root(parser, required=False)
    _card(parser)
    _plugin(parser)

    parser = _command(commands, "show", show_command, "evalkit show chartqa_test_human --data-root D --limit 3")
    parser.add_argument("task")
    _data_root(parser)
    _card(parser)
    parser.add_argument("--model", metavar="M", help="also apply this checkpoint's prompt and count its tokens")
    _limit(parser)
    _plugin(parser)

    data = commands.add_parser("data", help="Check or fetch benchmark data.", description="Check or fetch data.")
    inner = data.add_subparsers(required=True, metavar="COMMAND")
    parser = _command(inner, "check", data_check_command, "evalkit data check docvqa_val --data-root D")
    parser.add_argument("tasks", nargs="*", metavar="TASK")
    _data_root(parser)
    _plugin(parser)
    parser = _command(
        inner, "fetch", data_fetch_command, "evalkit data fetch textvqa_val --data-root D", json_flag=False
    )
    parser.add_argument("task")
    _data_root(parser)
    parser.add_argument(
        "--revision", help="commit of the dataset repository (default: that of an earlier fetch, else newest)"
    )
    parser.add_argument("--source", metavar="DIR", help="a local clone of the dataset repository")
    _plugin(parser)


def _add_run(commands: Any) -> None:
    from evalkit.models import ATTENTION, DTYPES, MEMORY_FRACTION

    example = "torchrun --nproc-per-node 8 -m evalkit run --model M --card internvl2 --data-root D --out RUN"
    parser = _command(commands, "run", run_command, example)
    parser.add_argument("--model", required=True, metavar="M", help="checkpoint folder, Hub id or replay:FILE-or-RUN")
    _card(parser)
    parser.add_argument(
        "--tasks", type=_names, default=(), metavar="A,B", help="these tasks (default: the card's rows)"
    )
    _data_root(parser)
    parser.add_argument("--out", required=True, metavar="RUN", help="run folder; one that is there is continued")
    _limit(parser)
    parser.add_argument("--engine", choices=("grouped", "reference"), default="grouped", help="default: grouped")
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="auto: bfloat16 on CUDA, else float32")
    parser.add_argument("--device", default="auto", help="auto: CUDA if there is one, else cpu")
    parser.add_argument("--attention", choices=ATTENTION, default="sdpa", help="default: sdpa")
    parser.add_argument(
        "--audit",
        type=_positive,
        default=0,
        metavar="N",
        help="answer N samples of each task again with the reference engine",
    )
    parser.add_argument(
        "--memory-fraction",
        type=_level,
        default=MEMORY_FRACTION,
        metavar="F",
        help=f"share of the device's memory that the job may use, weights included (default: {MEMORY_FRACTION})",
    )
    parser.add_argument(
        "--lease",
        type=_positive,
        default=600,
        metavar="S",
        help="seconds without a sign of life after which the other ranks take a rank's work (default: 600)",
    )
    parser.add_argument(
        "--media-timeout",
        type=_positive,
        default=120,
        metavar="S",
        help="seconds that decoding one file may take (default: 120)",
    )
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="accepted, and not needed: evalkit has its own InternVL2 and never runs code of a checkpoint",
    )
    parser.add_argument("--dry-run", action="store_true", help="print samples, tiles, tokens and an estimate only")
    _plugin(parser)


def _add_score_commands(commands: Any) -> None:
    parser = _command(commands, "status", status_command, "evalkit status RUN")
    parser.add_argument("run", metavar="RUN")

    parser = _command(commands, "score", score_command, "evalkit score --task docvqa_val --predictions F --data-root D")
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run folder")
    parser.add_argument("--task", help="score anyone's predictions for this task")
    parser.add_argument("--predictions", metavar="F", help='JSONL with "id" and "response"')
    _data_root(parser, required=False)
    _card(parser)
    parser.add_argument("--out", metavar="DIR", help="write scores.json, scores.jsonl and card.md there")
    parser.add_argument(
        "--server-score", type=_server_score, action="append", default=[], metavar="TASK=SCORE",
        help="keep a score that a benchmark's server returned (repeatable)",
    )  # fmt: skip
    parser.add_argument("--allow-missing", action="store_true", help="count samples without a prediction wrong")
    _plugin(parser)

    parser = _command(commands, "table", table_command, "evalkit table RUN --format md", json_flag=False)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    _card(parser, "internvl2")
    parser.add_argument(
        "--format", choices=("md", "csv", "tex", "html", "json", "model-index", "eval-results"), default="md",
        help="default: md; model-index and eval-results are Hub metadata of one run",
    )  # fmt: skip
    parser.add_argument("--compact", action="store_true", help="one column a run, for READMEs (md, tex, html)")

    parser = _command(commands, "compare", compare_command, "evalkit compare RUN BASE")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("base", metavar="BASE")
    _alpha(parser)

    parser = _command(commands, "check", check_command, "evalkit check RUN --baseline BASE --max-drop 0.5")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--baseline", required=True, metavar="BASE", help="a run folder, or 'published'")
    parser.add_argument(
        "--max-drop", type=_points, default=0.0, metavar="X", help="points a score may fall (default: 0)"
    )
    _alpha(parser)
    _card(parser, "internvl2")
    parser.add_argument("--summary", metavar="FILE", help="append the verdicts as Markdown (a CI step summary)")
    parser.add_argument("--junit", metavar="FILE", help="write the verdicts as JUnit XML")

    parser = _command(
        commands, "submit", submit_command, "evalkit submit RUN docvqa_test --out docvqa_test.json", json_flag=False
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("--out", required=True, metavar="FILE")
    _data_root(parser, required=False)

    parser = _command(commands, "demo", demo_command, "evalkit demo --out demo", json_flag=False)
    parser.add_argument("--out", required=True, metavar="DIR")


def _add_picture_commands(commands: Any) -> None:
    parser = _command(commands, "plot", plot_command, "evalkit plot RUN OTHER --out plots", json_flag=False)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--out", required=True, metavar="DIR")
    _card(parser, "internvl2")
    _data_root(parser, required=False)

    example = "evalkit report RUN --against BASE --out report.html"
    parser = _command(commands, "report", report_command, example, json_flag=False)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--against", metavar="BASE", help="another run: flips, its answers, paired differences")
    parser.add_argument("--out", required=True, metavar="FILE.html")
    parser.add_argument(
        "--images", type=_positive, default=400, metavar="N", help="images and videos in the file (default: 400)"
    )
    _card(parser, "internvl2")
    _data_root(parser, required=False)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    from evalkit import __version__

    parser = _Parser(
        prog="evalkit",
        description="Reproduce the benchmark tables of the InternVL2-1B model card.",
        epilog="example:\n  evalkit demo --out demo && evalkit tasks --data-root demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"evalkit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_reading_commands(commands)
    _add_run(commands)
    _add_score_commands(commands)
    _add_picture_commands(commands)
    return parser


def _with_extras(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command; a package of an extra that is not installed is a user's error."""
    try:
        return command(args)
    except ModuleNotFoundError as error:
        if missing := missing_extra(error):
            raise missing from error
        raise


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 done, 2 wrong input, 3 incomplete (130: interrupted).
    """
    args = build_parser().parse_args(argv)
    try:
        code = _with_extras(args.run_command, args)
        sys.stdout.flush()
        return code
    except EvalkitError as error:
        from evalkit.redact import redact

        print(f"evalkit: {redact(str(error))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a folder that cannot be written, a full disk: the user's machine, not a bug
        print(f"evalkit: {error.filename or 'file system'}: {error.strerror or error}", file=sys.stderr)
        return UsageError.exit_code
    except KeyboardInterrupt:
        print("evalkit: interrupted; the same command continues the run", file=sys.stderr)
        return INTERRUPTED


def entry() -> NoReturn:
    """Run the command line and leave."""
    sys.exit(main())
