"""How images and videos are shown: the official pixels of every step, merged media, questions from frames, mistakes."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from evalkit.card import load_card
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.inference.plan import plan
from evalkit.inference.progress import Progress
from evalkit.inference.queue import WorkQueue
from evalkit.inference.ranks import Ranks
from evalkit.inference.worker import work
from evalkit.media.decoder import Decoders
from evalkit.media.load import images, load, probe
from evalkit.models.base import MediaGroup, Model, Source
from evalkit.records import FirstLook, Layout, Look, Media, Recipe, Request, Response, Sample, Score, View
from evalkit.requests import build_requests, layout_of, pixels_of, recipe_for, views_of
from evalkit.selection import Job
from evalkit.task import Task
from tests.conftest import REPO, Cli, write_jsonl
from tests.test_media_load import assert_golden, noise, official_pixels

MMMU_LEFT = Look(first=FirstLook(max_tiles=6, enlarge=2), keep_mode=True, merge=True)
MMMU_RIGHT = Look(max_tiles=12, first=FirstLook(enlarge=2), jpeg=75)

# VLMEvalKit's file of each task of golden_vk whose images are in a table.
TABLES = {
    "realworldqa": "RealWorldQA",
    "mmstar": "MMStar",
    "ai2d_test_vlmevalkit": "AI2D_TEST",
    "mmbench_test_en_v11": "MMBench_TEST_EN_V11",
    "mmbench_test_cn_v11": "MMBench_TEST_CN_V11",
    "mmmu_val_vlmevalkit": "MMMU_DEV_VAL",
    "ocrbench": "OCRBench",
    "hallusionbench": "HallusionBench",
    "mmvet_turbo": "MMVet",
    "mathvista_testmini": "MathVista_MINI",
}
VIDEOS = ("mmbench_video_8f", "mmbench_video_16f", "videomme_wo_subs", "videomme_w_subs")


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    (tmp_path / "data").mkdir()
    return DataRoot(tmp_path)


def look_of(task: str, max_tiles: int) -> Look:
    """The card's look; VLMEvalKit's common one for a task without a row."""
    recipe = load_card("internvl2").recipe(task)
    return recipe.look if recipe else Look(max_tiles=max_tiles, jpeg=75)


def asked_of(task: Task, recipe: Recipe, root: DataRoot) -> list[Request]:
    return build_requests(task, list(task.load(root)), recipe, root, 28)


def task_with(*samples: Sample, **more: Any) -> Task:
    return Task(
        name="drawn", metric="accuracy", expected_n=len(samples), files=(), load=lambda _: samples,
        score=lambda sample, answer: Score(1.0, answer), **more,
    )  # fmt: skip


def sample(name: str, *media: Media, question: str = "Which?") -> Sample:
    return Sample(name, question, media, ("A",), name)


# The official pixels


def vlmevalkit_media(shared: Path, root: DataRoot, task: str) -> dict[str, tuple[Media, ...]]:
    """The images of a table's rows, copied to the data root; those of a row that lists several as files."""
    table = f"data/LMUData/{TABLES[task]}.tsv"
    root.resolve(table).parent.mkdir()
    copied = shutil.copy(shared / "golden_vk" / "prompts_root" / table, root.resolve(table))
    rows = pd.read_csv(copied, sep="\t", dtype=str, keep_default_na=False)
    found = {}
    for row in rows.to_dict("records"):
        media = []
        for place, data in enumerate(ast.literal_eval(row["image"]) if row["image"].startswith("[") else []):
            name = ast.literal_eval(row["image_path"])[place]
            path = root.base / f"{row['index']}-{place}"
            path.write_bytes(base64.b64decode(data))
            media.append(Media(f"data/{path.name}", lossless=name.endswith(".png")))
        found[row["index"]] = tuple(media) or (Media(f"{table}#{row['index']}", "row"),)
    return found


@pytest.mark.shared_data
@pytest.mark.parametrize("task", TABLES)
def test_images_as_vlmevalkit_saves_and_enlarges_them(task: str, shared: Path, root: DataRoot) -> None:
    media = vlmevalkit_media(shared, root, task)
    cases = json.loads((shared / "golden_vk" / "prompts.json").read_text())[task]
    for case in cases:
        look = look_of(task, case["max_num"])
        assert look.max_tiles == case["max_num"]
        views = views_of(media[case["id"]], look, 448)
        assert [tiles_of(probe(view, root)) for view in views] == case["num_patches_list"]
        for view, image in zip(views, case["images"], strict=True):
            (tiles,) = load(view, root)
            assert_golden(official_pixels(tiles), image["pixels"])
    assert len(cases) >= 4


def tiles_of(layout: Layout | None) -> int:
    assert layout is not None
    return layout.tiles


@pytest.mark.shared_data
@pytest.mark.parametrize("task", VIDEOS)
def test_frames_as_vlmevalkit_saves_them(task: str, shared: Path) -> None:
    root = DataRoot(shared / "golden_vk" / "prompts_root")
    cases = json.loads((shared / "golden_vk" / "prompts.json").read_text())[task]
    compared = 0
    for case in cases:
        (view,) = views_of([Media(f"data/LMUData/{case['video']}", "video")], look_of(task, 1), 448)
        layout = probe(view, root)
        assert layout is not None
        assert (list(layout.frames), layout.fps) == (case["frame_indices"], case["fps"])
        assert layout.times == tuple(index / case["fps"] for index in case["frame_indices"])
        if "pixels" in case["images"][0]:
            for tiles, image in zip(load(view, root), case["images"], strict=True):
                assert_golden(official_pixels(tiles), image["pixels"])
                compared += 1
    assert compared or task == "videomme_w_subs"  # whose frames are those of videomme_wo_subs


@pytest.mark.shared_data
def test_mmmu_images_keep_their_mode_until_they_are_cut(shared: Path, root: DataRoot) -> None:
    cases = json.loads((shared / "golden_iv" / "prompts_iv.json").read_text())["mmmu_val"]["samples"]
    assert look_of("mmmu_val", 0) == MMMU_LEFT
    modes = set()
    for case in cases:
        if "pixels" not in case:
            continue
        subject = case["id"].split("_")[1]
        file = shared / "golden_iv/pixels/root/data/MMMU" / subject / "validation-00000-of-00001.parquet"
        row = pd.read_parquet(file).set_index("id").loc[case["id"]]
        media = []
        for image in case["images"]:
            name = f"{case['id']}-{image['image']}"
            (root.base / name).write_bytes(row[image["image"]]["bytes"])
            media.append(Media(f"data/{name}"))
            modes.add(image["mode"])
        recipe = Recipe(prompt="{media}{question}", max_new_tokens=10, look=MMMU_LEFT)
        (request,) = build_requests(task_with(sample("0", *media)), [sample("0", *media)], recipe, root, 448)
        assert request.merged and request.prompt == "<image>\nWhich?"
        (tiles,) = pixels_of(request, partial(load, root=root))
        assert [len(tiles)] == case["num_patches_of_each_image_marker"]
        expected = [tile["sha256_rgb_uint8"] for tile in case["pixels"]]
        assert [hashlib.sha256(tile.tobytes()).hexdigest() for tile in tiles] == expected
    assert modes == {"RGBA", "P", "RGB"}


# Each step on drawn images


def test_a_jpeg_pass_is_a_file_saved_and_read_back(root: DataRoot) -> None:
    image = noise(56, 40)
    image.save(root.base / "a.png")
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75)
    expected = np.asarray(Image.open(file).resize((28, 28), Image.Resampling.BICUBIC), np.int16)
    (view,) = views_of([Media("data/a.png")], Look(jpeg=75), 28)
    (tiles,) = load(view, root)
    assert np.abs(tiles[0] - expected).max() <= 1  # Pillow 13 may resize in the other order
    (lossless,) = views_of([Media("data/a.png", lossless=True)], Look(jpeg=75), 28)
    assert lossless == replace(views_of([Media("data/a.png")], Look(), 28)[0], media=lossless.media)
    assert np.abs(load(lossless, root)[0][0] - expected).max() > 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_a_jpeg_pass_takes_every_mode(mode: str, root: DataRoot) -> None:
    Image.new(mode, (30, 20), 1).save(root.base / "a.tif")
    (view,) = views_of([Media("data/a.tif")], Look(jpeg=75), 28)
    (tiles,) = load(view, root)
    assert tiles.shape == (1, 28, 28, 3)


def test_transparent_pixels_show_their_colour_unless_the_mode_is_kept(root: DataRoot) -> None:
    Image.new("RGBA", (30, 30), (200, 100, 50, 0)).save(root.base / "a.png")
    media = [Media("data/a.png")]
    plain, kept = (load(views_of(media, Look(keep_mode=keep), 28)[0], root)[0] for keep in (False, True))
    assert (plain == (200, 100, 50)).all()
    assert (kept == 0).all()
    (shown,) = images(views_of(media, Look(keep_mode=True), 28)[0], root)
    assert shown.mode == "RGB"  # what a report shows


def test_only_the_first_image_is_enlarged_and_cut_otherwise(root: DataRoot) -> None:
    noise(28, 56).save(root.base / "a.png")
    media = [Media("data/a.png")] * 3
    views = views_of(media, MMMU_LEFT, 28)
    assert [(view.max_tiles, view.enlarge) for view in views] == [(6, 2), (1, 1), (1, 1)]
    assert views[1] == views[2]
    layouts = [probe(view, root) for view in views]
    assert [len(load(view, root)[0]) for view in views] == [tiles_of(layout) for layout in layouts] == [3, 1, 1]
    # Enlarging decides ties between grids of one shape: 1 x 2 and, for twice the size, nothing larger within 6 tiles.
    wide = replace(MMMU_RIGHT, max_tiles=8, jpeg=None)
    grids = [layout.grid for view in views_of(media, wide, 28) if (layout := probe(view, root))]
    assert grids == [(2, 4), (1, 2), (1, 2)]


def test_enlarged_frames_are_probed_as_they_load(root: DataRoot) -> None:
    frames = [noise(28, 56, i) for i in range(4)]
    frames[0].save(root.base / "a.gif", save_all=True, append_images=frames[1:])
    (view,) = views_of([Media("data/a.gif", "gif")], Look(max_tiles=8, enlarge=2, frames=2), 28)
    layout = probe(view, root)
    assert layout is not None and layout.grid == (2, 4)
    assert [len(tiles) for tiles in load(view, root)] == [layout.tiles] * layout.images


# Merged media


def two_images(root: DataRoot) -> tuple[Media, Media]:
    noise(28, 56).save(root.base / "a.png")
    noise(40, 40, 1).save(root.base / "b.png")
    return Media("data/a.png"), Media("data/b.png")


class Recorder(Model):
    """Answers with the shapes that it is shown."""

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        for group in groups:
            for request in group.requests:
                yield request, Response(request.id, json.dumps([tiles.shape[0] for tiles in group.media]))


def test_merged_media_reach_the_model_as_one_image(root: DataRoot, tmp_path: Path) -> None:
    first, second = two_images(root)
    task = task_with(sample("one", first), sample("two", first, second))
    looks = {"merged": MMMU_LEFT, "apart": replace(MMMU_LEFT, merge=False)}
    jobs = []
    for name, look in looks.items():
        named = replace(task, name=name)
        recipe = Recipe(prompt="{media}{question}", max_new_tokens=4, look=look)
        jobs.append(Job(named, recipe, list(named.load(root)), asked_of(named, recipe, root)))
    requests = {job.task.name: job.requests for job in jobs}
    assert [request.prompt.count("<image>") for request in requests["merged"]] == [1, 1]
    assert [request.prompt.count("<image>") for request in requests["apart"]] == [1, 2]

    made = plan(jobs, {}, root, partial(layout_of, root=root), Source().cost)
    units = sorted(sorted(unit) for unit in made.units)
    assert units == [[("apart", 0), ("merged", 0)], [("apart", 1)], [("merged", 1)]]

    ranks = Ranks()
    queue = WorkQueue(ranks, made.costs, 600.0, str, "test", print)
    progress = Progress({name: 2 for name in looks}, {name: 2 for name in looks}, ranks, tmp_path)
    with Decoders(root) as decoders:
        shards = lambda task: tmp_path / task / "shards"  # noqa: E731
        work(made.units, requests, Recorder(), "tiles", decoders, shards, 0, queue, progress)
    shapes = {
        (name, line["id"]): json.loads(line["response"])
        for name in looks
        for line in map(json.loads, (tmp_path / name / "shards" / "rank0.jsonl").read_text().splitlines())
    }
    assert shapes == {("merged", "one"): [3], ("apart", "one"): [3], ("merged", "two"): [4], ("apart", "two"): [3, 1]}


def test_the_frames_of_a_video_can_be_merged_too(root: DataRoot) -> None:
    frames = [noise(28, 28, i) for i in range(4)]
    frames[0].save(root.base / "a.gif", save_all=True, append_images=frames[1:])
    recipe = Recipe(prompt="{media}{question}", max_new_tokens=4, look=Look(frames=2, merge=True))
    (request,) = asked_of(task_with(sample("0", Media("data/a.gif", "gif"))), recipe, root)
    assert request.prompt == "<image>\nWhich?"
    assert [len(tiles) for tiles in pixels_of(request, partial(load, root=root))] == [2]


# Another look from end to end

PLUGIN = '''
"""Two pictures a question."""
from evalkit.data.readers import read_jsonl
from evalkit.records import FirstLook, Look, Media, Recipe, Sample, Score
from evalkit.task import Task

FILE = "data/pairs/test.jsonl"
LOOK = Look(first=FirstLook(max_tiles=6, enlarge=2), keep_mode=True, merge=True, jpeg=75)


def load(root):
    for number, record in enumerate(read_jsonl(root.resolve(FILE), FILE)):
        media = tuple(Media("data/pairs/" + name) for name in record.data["images"])
        yield Sample(str(number), record.data["question"], media, ("a",), str(number))


TASKS = (
    Task(
        name="pairs_test",
        metric="accuracy",
        expected_n=2,
        files=(FILE,),
        load=load,
        score=lambda sample, answer: Score(float(answer == "a"), answer),
        recipe=Recipe(prompt="{media}{question}", max_new_tokens=4, look=LOOK),
    ),
)
'''


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    (tmp_path / "pairs.py").write_text(PLUGIN)
    folder = tmp_path / "data" / "pairs"
    lines: list[dict[str, object]] = [
        {"question": "One?", "images": ["a.png"]},
        {"question": "Two?", "images": ["a.png", "b.png"]},
    ]
    write_jsonl(folder / "test.jsonl", lines)
    noise(224, 112).convert("P").save(folder / "a.png")
    noise(112, 112, 1).convert("RGBA").save(folder / "b.png")
    return tmp_path


def test_another_look_from_end_to_end(pairs: Path, demo: Path, cli: Cli) -> None:
    plugin, model = pairs / "pairs.py", demo / "checkpoint"
    args = ["pairs_test", "--data-root", pairs, "--plugin", plugin]
    shown = json.loads(cli("show", *args, "--model", model, "--json").stdout)
    assert [entry["prompt"] for entry in shown] == ["<image>\nOne?", "<image>\nTwo?"]
    assert [entry.get("merged") for entry in shown] == [None, True]
    first, second = shown[1]["media"]
    steps = {"keep_mode": True, "jpeg": 75}
    assert first == {"path": "data/pairs/a.png", "enlarge": 2, **steps, "grid": [2, 1], "tiles": 3}
    assert second == {"path": "data/pairs/b.png", **steps, "grid": [1, 1], "tiles": 1}
    text = cli("show", *args).stdout
    assert "(3 tiles, grid [2, 1], enlarge 2, keep_mode True, jpeg 75)" in text
    assert text.count("all tiles behind one <image> marker") == 1

    run = ["run", "--model", model, "--tasks", *args, "--out", pairs / "run"]
    planned = json.loads(cli(*run, "--dry-run", "--json").stdout)[0]
    assert planned["tiles"] == 4 and planned["prompt_tokens"] == sum(entry["prompt_tokens"] for entry in shown)
    done = cli(*run)
    assert done.returncode == 0, done.stderr
    answered = (pairs / "run" / "pairs_test" / "predictions.jsonl").read_text().splitlines()
    tokens = [json.loads(line)["prompt_tokens"] for line in answered]
    assert tokens == [entry["prompt_tokens"] for entry in shown]
    recipe = json.loads((pairs / "run" / "run.json").read_text())["settings"]["tasks"]["pairs_test"]["recipe"]
    assert recipe["look"]["first"] == {"max_tiles": 6, "enlarge": 2}

    reported = cli("report", pairs / "run", "--out", pairs / "report.html")
    assert reported.returncode == 0, reported.stderr
    assert "other prompts" not in (pairs / "report.html").read_text()


def test_a_run_folder_of_an_older_evalkit_cannot_be_reported(pairs: Path, demo: Path, cli: Cli) -> None:
    answers: list[dict[str, object]] = [{"id": "0", "response": "a"}, {"id": "1", "response": "b"}]
    replayed = write_jsonl(pairs / "answers" / "pairs_test" / "predictions.jsonl", answers).parent.parent
    args = ["--tasks", "pairs_test", "--data-root", pairs, "--plugin", pairs / "pairs.py", "--out", pairs / "run"]
    assert cli("run", "--model", f"replay:{replayed}", *args).returncode == 0
    path = pairs / "run" / "run.json"
    record = json.loads(path.read_text())
    recipe = record["settings"]["tasks"]["pairs_test"]["recipe"]
    report = ["report", pairs / "run", "--out", pairs / "report.html"]
    for change, problem in (
        ({**recipe, "look": {**recipe["look"], "tiles": 6}}, "look.tiles: Unexpected keyword argument"),
        ({key: value for key, value in recipe.items() if key != "look"} | {"max_tiles": 6}, "rerun the task"),
    ):
        record["settings"]["tasks"]["pairs_test"]["recipe"] = change
        path.write_text(json.dumps(record))
        refused = cli(*report)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1
        assert "run.json: recipe of 'pairs_test'" in refused.stderr and problem in refused.stderr


# Subtitles at the sampled frames


def subtitled(sample: Sample, cut: Sequence[Layout | None]) -> str:
    return "; ".join(" ".join(f"{time:g}" for time in layout.times) if layout else "absent" for layout in cut)


def test_subtitles_depend_on_the_sampled_frames(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [noise(28, 28, i) for i in range(50)]
    frames[0].save(root.base / "a.gif", save_all=True, append_images=frames[1:])
    clip, absent = Media("data/a.gif", "gif"), Media("data/b.mp4", "video")
    recipe = Recipe(prompt="{media}[{subtitles}] {question}!", max_new_tokens=4, look=Look(frames=3))
    task = task_with(sample("0", clip), sample("1", absent), sample("2", clip), subtitles=subtitled)
    probed = []

    def noted(view: View, root: DataRoot) -> Layout | None:
        probed.append(view.media)
        return probe(view, root)

    monkeypatch.setattr("evalkit.requests.probe", noted)
    prompts = [request.prompt.removeprefix("<image>\n" * 3) for request in asked_of(task, recipe, root)]
    # 50 frames at 25 a second: the middles of three segments of 49/3.
    assert prompts == ["[0.32 0.96 1.64] Which?!", "[absent] Which?!", "[0.32 0.96 1.64] Which?!"]
    assert sorted(media.path for media in probed) == ["data/a.gif", "data/b.mp4"]  # each once
    probed.clear()
    asked_of(task_with(sample("1", absent)), recipe, root)
    assert not probed


def test_a_recipe_deletes_text_wherever_it_stands(root: DataRoot) -> None:
    recipe = Recipe(prompt="Said:\n{subtitles}\nQuestion: {question} \nAnswer: ", max_new_tokens=4, delete="\nAnswer:")
    task = task_with(replace(sample("0"), question="Which\nAnswer: A?"), subtitles=lambda *_: "Answer: no\nAnswer: yes")
    (request,) = asked_of(task, recipe, root)
    assert request.prompt == "Said: no yes\nQuestion: Which A?  "


# Recipes that make no sense


@pytest.mark.parametrize(
    ("look", "key", "problem"),
    [
        ("{max_tiles: 0}", "look.max_tiles", "greater than or equal to 1"),
        ("{jpeg: 101}", "look.jpeg", "less than or equal to 100"),
        ("{first: {enlarge: 0}}", "look.first.enlarge", "greater than or equal to 1"),
        ("{first: {enlrge: 2}}", "look.first.enlrge", "did you mean 'enlarge'? allowed: max_tiles, enlarge"),
        ("{frames: -1}", "look.frames", "greater than or equal to 0"),
        ("{frame_rule: middle}", "look.frame_rule", "'segment_middle' or 'even_step'"),
        ("{merge: 1}", "look.merge", "valid boolean"),
        ("{enlarge: 1.5}", "look.enlarge", "valid integer"),
    ],
)
def test_a_mistake_in_a_look_is_named_with_its_line(look: str, key: str, problem: str, tmp_path: Path) -> None:
    text = (REPO / "configs" / "cards" / "internvl2.yaml").read_text(encoding="utf-8")
    path = tmp_path / "card.yaml"
    path.write_text(text.replace("look: {max_tiles: 18}", f"look: {look}", 1), encoding="utf-8")
    line = text[: text.index("look: {max_tiles: 18}")].count("\n") + 1
    with pytest.raises(UsageError) as caught:
        load_card(str(path))
    assert f"card.yaml:{line}: tables.0.rows.0.recipe.{key}: " in str(caught.value)
    assert problem in str(caught.value)


def test_a_mistake_in_a_tasks_own_recipe_is_named() -> None:
    recipe = Recipe(prompt="{media}{question}", max_new_tokens=4, look=Look(max_tiles=0))
    with pytest.raises(UsageError, match=r"recipe of task 'drawn': look\.max_tiles: Input should be greater than"):
        recipe_for(task_with(recipe=recipe), None, "internvl2")
    fine = replace(recipe, look=MMMU_RIGHT)
    assert recipe_for(task_with(recipe=fine), None, "internvl2") == fine


def test_what_a_model_cannot_express_is_named() -> None:
    assert Look().beyond(()) == []
    assert MMMU_LEFT.beyond(("max_tiles", "thumbnail", "frames", "frame_rule")) == ["first", "keep_mode", "merge"]
    assert Look(max_tiles=12, jpeg=75).beyond(("jpeg",)) == ["max_tiles"]
