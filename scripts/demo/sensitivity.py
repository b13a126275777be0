"""How much each deliberate fault costs on the demo, and whether the gate catches it.

    evalkit demo --out demo
    python -m scripts.demo.sensitivity --demo demo

Every fault is injected alone, by replacing one function or setting while the demo is answered and scored; then
``evalkit check`` compares the run with the shipped baseline. The row "nothing changed" is the control.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from evalkit import requests, selection
from evalkit.cli import main as cli
from evalkit.data.root import DataRoot
from evalkit.inference.plan import plan
from evalkit.media import load as loading
from evalkit.media import tiling, video
from evalkit.metrics import boxes
from evalkit.models import load_model
from evalkit.models.base import MediaGroup, Source
from evalkit.models.internvl2 import model, network
from evalkit.models.internvl2.config import CheckpointConfig, read_config
from evalkit.models.internvl2.prompt import END, chat_prompt
from evalkit.records import Recipe
from evalkit.selection import build_jobs, select

BASELINE = Path("results/demo-baseline")
FEWEST = 100  # samples of a task that the model was trained for
BENCHMARKS = ("docvqa", "chartqa", "textvqa", "mmbench", "ccbench", "mvbench", "refcoco")

Patch = AbstractContextManager[Any]


def _look(**change: Any) -> Patch:
    return _recipe(lambda recipe: replace(recipe, look=replace(recipe.look, **change)))


def _recipe(change: Callable[[Recipe], Recipe]) -> Patch:
    original = requests.recipe_for
    return mock.patch.object(selection, "recipe_for", lambda *given: change(original(*given)))


def _tiles(change: Callable[[Any, Any], Any]) -> Patch:
    """Replace an image's tiles by ``change(image, tiles and the arguments of tile_image)``."""
    original = tiling.tile_image

    def changed(image: Image.Image, max_tiles: int, tile_size: int, thumbnail: bool) -> Any:
        grid = tiling.choose_grid(image.width, image.height, max_tiles, tile_size)
        return np.ascontiguousarray(change(original(image, max_tiles, tile_size, thumbnail), grid))

    return mock.patch.object(loading, "tile_image", changed)


def _column_order(tiles: Any, grid: tuple[int, int]) -> Any:
    columns, rows = grid
    order = [row * columns + column for column in range(columns) for row in range(rows)]
    return tiles[[*order, *range(len(order), len(tiles))]]


def _nearest(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.NEAREST)


def _own_template(question: str) -> str:
    """Qwen2's own chat template, with its default system prompt."""
    system = f"<|im_start|>system\nYou are a helpful assistant.{END}\n"
    return f"{system}<|im_start|>user\n{question}{END}\n<|im_start|>assistant\n"


def _no_system(question: str) -> str:
    return chat_prompt(question).partition(END)[2]


def _frames(change: Callable[[Sequence[int]], Sequence[int]]) -> Patch:
    original = video.read_frames
    return mock.patch.object(loading, "read_frames", lambda path, media, found: original(path, media, change(found)))


def _answer_box(change: Callable[[boxes.Box], boxes.Box]) -> Patch:
    original = boxes.parse_box

    def changed(answer: str) -> boxes.ParsedBox | None:
        found = original(answer)
        return found and found._replace(values=change(found.values))

    return mock.patch.object(boxes, "parse_box", changed)


def _swapped_kv() -> Patch:
    original = network.translated

    def changed(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        if ".attn.qkv." in name:
            query, key, value = tensor.chunk(3)
            tensor = torch.cat([query, value, key])
        yield from original(name, tensor)

    return mock.patch.object(network, "translated", changed)


def _theta() -> Patch:
    def changed(folder: Path) -> CheckpointConfig:
        config = read_config(folder)
        return config.model_copy(update={"llm_config": config.llm_config.model_copy(update={"rope_theta": 10000.0})})

    return mock.patch.object(model, "read_config", changed)


def _tied() -> Patch:
    original = network.load_network

    def changed(*given: Any) -> network.InternVL2:
        found = original(*given)
        found.language_model.lm_head.weight = found.language_model.get_input_embeddings().weight
        return found

    return mock.patch.object(model, "load_network", changed)


def _left_padding() -> Patch:
    """Pad suffixes on the left, where the decoder's masks and positions expect their padding on the right."""
    original = torch.nn.utils.rnn.pad_sequence
    changed = partial(original, padding_side="left")
    return mock.patch.object(torch.nn.utils.rnn, "pad_sequence", changed)


def _half(*names: str) -> Patch:
    stack = ExitStack()
    for name in names:
        stack.enter_context(mock.patch.object(network, name, (0.5, 0.5, 0.5)))
    return stack


FAULTS: Mapping[str, Callable[[], Patch]] = {
    "nothing changed": ExitStack,
    "no thumbnail": lambda: _look(thumbnail=False),
    "one tile": lambda: _look(max_tiles=1),
    "tiles in column order": lambda: _tiles(_column_order),
    "BGR for RGB": lambda: _tiles(lambda tiles, grid: tiles[..., ::-1]),
    "normalised with mean and deviation 0.5": lambda: _half("MEAN", "STD"),
    "nearest for bicubic": lambda: mock.patch.object(tiling, "resize", _nearest),
    "newline for space before the suffix": lambda: _recipe(
        lambda recipe: replace(recipe, prompt=recipe.prompt.replace("} A", "}\nA"))
    ),
    "no system prompt": lambda: mock.patch.object(model, "chat_prompt", _no_system),
    "the tokenizer's own chat template": lambda: mock.patch.object(model, "chat_prompt", _own_template),
    "frames reversed": lambda: _frames(lambda indices: indices[::-1]),
    "8 frames": lambda: _recipe(
        lambda recipe: replace(recipe, look=replace(recipe.look, frames=min(recipe.look.frames, 8)))
    ),
    "x and y swapped": lambda: _answer_box(lambda box: (box[1], box[0], box[3], box[2])),
    "boxes over 999 for 1000": lambda: _answer_box(lambda box: tuple(1000 / 999 * edge for edge in box)),  # type: ignore[arg-type, return-value]
    "k and v swapped in the vision encoder": _swapped_kv,
    "rope_theta 10000": _theta,
    "tied embeddings": _tied,
    "padding on the wrong side": _left_padding,
}


class Finding(NamedTuple):
    """What a fault did.

    Attributes:
        fault: its name.
        caught: tasks on which the gate fired.
        drops: points lost, by benchmark (mean over its tasks).
        changed: share of answers that differ from the baseline's.
    """

    fault: str
    caught: list[str]
    drops: dict[str, float]
    changed: float


def trained_tasks(baseline: Path) -> list[str]:
    """Return the tasks that the model was trained for; the others have too few samples for a gate to see a fault."""
    scores = json.loads((baseline / "scores.json").read_text(encoding="utf-8"))
    return [name for name, found in scores.items() if found["n"] >= FEWEST]


def examine(fault: str, demo: Path, baseline: Path, tasks: Sequence[str] = ()) -> Finding:
    """Answer and score tasks (default: those trained for) with one fault, and compare the run with the baseline."""
    torch.set_num_threads(1)
    tasks = list(tasks or trained_tasks(baseline))
    with tempfile.TemporaryDirectory() as folder, FAULTS[fault]():
        answers, run = Path(folder, "answers"), Path(folder, "run")
        _answer(demo, tasks, answers)
        arguments = ["--card", "internvl2", "--tasks", ",".join(tasks), "--data-root", str(demo), "--out", str(run)]
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            if code := cli.main(["run", "--model", f"replay:{answers}", *arguments]):
                raise SystemExit(f"{fault}: scoring exited with {code}")
        with redirect_stdout(StringIO()) as gate:
            cli.main(["check", str(run), "--baseline", str(baseline), "--json"])
        checks = json.loads(gate.getvalue())["checks"]
        caught = [check["name"] for check in checks if check["status"] == "regression"]
        return Finding(fault, caught, _drops(run, baseline, tasks), _changed(run, baseline, tasks))


def _answer(demo: Path, tasks: Sequence[str], out: Path) -> None:
    """Answer tasks in this process, so that the replaced functions are used."""
    root = DataRoot(demo)
    found = load_model(str(demo / "checkpoint"), device="cpu", dtype="float32")
    jobs = build_jobs(select("internvl2", tasks, (), root), root, None, found.config.tile_size)
    asked = {item.task.name: item.requests for item in jobs}
    lines: dict[str, list[str]] = {task: [] for task in tasks}
    for unit in plan(jobs, {}, root, partial(requests.layout_of, root=root), Source().cost).units:
        group = [asked[task][index] for task, index in unit]
        pixels = requests.pixels_of(group[0], partial(loading.load, root=root))
        for request, response in found.answer([MediaGroup(group, pixels)]):
            lines[request.task].append(json.dumps({"id": request.id, "response": response.response}))
    for task, answered in lines.items():
        (out / task).mkdir(parents=True)
        (out / task / "predictions.jsonl").write_text("\n".join(answered) + "\n", encoding="utf-8")


def _drops(run: Path, baseline: Path, tasks: Sequence[str]) -> dict[str, float]:
    ours, theirs = (json.loads((path / "scores.json").read_text(encoding="utf-8")) for path in (run, baseline))
    drops = {}
    for benchmark in BENCHMARKS:
        names = [name for name in tasks if name.startswith(benchmark) and theirs[name]["score"] is not None]
        drops[benchmark] = sum(theirs[name]["score"] - ours[name]["score"] for name in names) / max(1, len(names))
    return drops


def _changed(run: Path, baseline: Path, tasks: Sequence[str]) -> float:
    def read(folder: Path) -> dict[tuple[str, str], str]:
        rows = [
            (task, json.loads(line))
            for task in tasks
            for line in (folder / task / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        return {(task, row["id"]): row["response"] for task, row in rows}

    ours, theirs = read(run), read(baseline)
    return sum(ours[key] != theirs[key] for key in theirs) / len(theirs)


def table(findings: Sequence[Finding]) -> list[str]:
    """Return the findings as a Markdown table."""
    head = ["fault", "caught", *BENCHMARKS, "answers changed"]
    lines = [f"| {' | '.join(head)} |", f"|---|---{'|---:' * (len(BENCHMARKS) + 1)}|"]
    for finding in findings:
        caught = f"yes ({len(finding.caught)})" if finding.caught else "no"
        drops = [f"{-finding.drops[name]:+.1f}" for name in BENCHMARKS]
        lines.append(f"| {' | '.join([finding.fault, caught, *drops, f'{100 * finding.changed:.1f} %'])} |")
    return lines


def main() -> None:
    """Measure faults and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", required=True, type=Path, help="what evalkit demo wrote")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        findings = list(pool.map(partial(examine, demo=args.demo, baseline=args.baseline), args.only))
    print("\n".join(table(findings)))


if __name__ == "__main__":
    main()
