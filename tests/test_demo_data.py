"""The demo: official layouts, the same bytes every time, and answers that the pictures show."""

from __future__ import annotations

import base64
import io
import json
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from evalkit.card import load_card
from evalkit.data.root import DataRoot
from evalkit.demo import write_demo
from evalkit.media.load import load, probe
from evalkit.models.internvl2.config import read_config
from evalkit.models.internvl2.prompt import chat_prompt
from evalkit.models.internvl2.tokenizer import ChatTokenizer
from evalkit.records import View
from evalkit.requests import build_requests, recipe_for
from evalkit.task import Task
from scripts.demo.choices import rotate, rotated_rows, thing
from scripts.demo.clips import FRAMES, SUBTASKS
from scripts.demo.files import write_tsv
from scripts.demo.layout import WRITERS, write_all
from scripts.demo.signs import ten_answers
from scripts.demo.stories import ABOUT_FLOOR, ASKERS, make_story
from scripts.demo.tiny.lessons import COURSES, choice_turn, clip_turn, lesson, recipes
from scripts.demo.tiny.vocabulary import SPECIAL
from scripts.demo.words import RGB
from tasks import chartqa, docvqa, mmbench, mvbench, refcoco, textvqa
from tests.conftest import SMALL_DEMO, contents

TASKS: tuple[Task, ...] = tuple(
    task for module in (docvqa, chartqa, textvqa, mmbench, mvbench, refcoco) for task in module.TASKS
)
SPLITS = (
    "refcoco_val", "refcoco_testA", "refcoco_testB", "refcoco+_val", "refcoco+_testA", "refcoco+_testB",
    "refcocog_val", "refcocog_test",
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo-data") / "demo"
    write_all(out, SMALL_DEMO)
    return out


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / "data" / "mmbench" / name, sep="\t", dtype=str, keep_default_na=False)


def test_the_same_bytes_again(written: Path, tmp_path: Path) -> None:
    write_all(tmp_path / "again", SMALL_DEMO)
    assert contents(tmp_path / "again") == contents(written)


def test_the_whole_demo_has_100_to_200_samples_a_task(tmp_path: Path) -> None:
    paths = write_demo(tmp_path / "demo")
    assert (paths.data_root, paths.checkpoint) == (tmp_path / "demo", tmp_path / "demo" / "checkpoint")
    for task in TASKS:
        assert 100 <= len(list(task.load(DataRoot(paths.data_root)))) <= 200, task.name


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_plugins_read_it_and_every_picture_decodes(task: Task, written: Path) -> None:
    root = DataRoot(written)
    samples = list(task.load(root))
    kind = next(
        name for name in ("refcoco", "mvbench", "docvqa", "chartqa", "textvqa", "") if task.name.startswith(name)
    )
    if kind:
        assert len(samples) == SMALL_DEMO[kind]
    assert 12 <= len(samples) <= 24
    for sample in samples:
        assert sample.question.strip() and bool(sample.references) == task.labelled
    for media in {sample.media[0] for sample in samples}:
        view = View(media, 112, 1, True, 16 if task.name == "mvbench" else 0, "segment_middle")
        layout = probe(view, root)
        assert layout is not None
        pixels = load(view, root)
        assert len(pixels) == layout.images == (16 if task.name == "mvbench" else 1)
        assert all(tiles.std() > 5 for tiles in pixels)


def test_docvqa_layout(written: Path) -> None:
    folder = written / "data" / "docvqa"
    val, test = jsonl(folder / "val.jsonl"), jsonl(folder / "test.jsonl")
    labels = json.loads((folder / "val" / "val_v1.0.json").read_text(encoding="utf-8"))["data"]
    assert all(set(row) == {"image", "question", "answer", "question_id"} for row in val)
    assert all(set(row) == {"image", "question", "question_id"} for row in test)
    assert [(label["questionId"], label["answers"]) for label in labels] == [
        (row["question_id"], row["answer"]) for row in val
    ]
    assert len({row["image"] for row in val}) < len(val)


def test_textvqa_layout(written: Path) -> None:
    folder = written / "data" / "textvqa"
    questions = json.loads((folder / "textvqa_val_questions.json").read_text(encoding="utf-8"))["questions"]
    annotations = json.loads((folder / "textvqa_val_annotations.json").read_text(encoding="utf-8"))["annotations"]
    rows = jsonl(folder / "textvqa_val.jsonl")
    ids = [row["question_id"] for row in rows]
    assert ids == [row["question_id"] for row in questions] == [row["question_id"] for row in annotations]
    for annotation in annotations:
        answers = [answer["answer"] for answer in annotation["answers"]]
        assert len(answers) == 10 and 1 < len(set(answers)) < 4
        assert answers.count(annotation["multiple_choice_answer"]) >= 7


def test_ten_answers_hold_the_right_one_most_often() -> None:
    answers = [answer["answer"] for answer in ten_answers(Random(1), "Alto", "Cold Tea")]
    assert set(answers) == {"alto", "cold tea"} and answers.count("alto") in (7, 8, 9)


def test_rotate() -> None:
    options = ["a", "b", "c", "d"]
    assert rotate(options, 3, 1) == (["b", "c", "d", "a"], 2)
    for turn in range(4):
        turned, right = rotate(options, 1, turn)
        assert turned[right] == "b" and sorted(turned) == options
    assert rotate(["Yes", "No"], 0, 1) == (["No", "Yes"], 1)


@pytest.mark.parametrize("name", ["mmbench_dev_20230712", "mmbench_dev_cn_20231003", "CCBench_legacy"])
def test_mmbench_rotations_ask_the_same(name: str, written: Path) -> None:
    rows = table(written, f"{name}.tsv")
    questions: dict[int, list[dict[str, str]]] = defaultdict(list)
    for row in rows.to_dict("records"):
        questions[int(row["index"]) % 1_000_000].append({str(key): str(value) for key, value in row.items()})
    assert len(questions) == SMALL_DEMO["mmbench"]
    for rotations in questions.values():
        options = {frozenset(row[letter] for letter in "ABCD" if row[letter]) for row in rotations}
        assert len(options) == 1 and len(next(iter(options))) == len(rotations)
        assert len({row[row["answer"]] for row in rotations}) == 1
        assert len({row["answer"] for row in rotations}) == len(rotations)
        assert [int(row["index"]) // 1_000_000 for row in rotations] == list(range(len(rotations)))
        assert len({row["image"] for row in rotations}) == 1
        with Image.open(io.BytesIO(base64.b64decode(rotations[0]["image"]))) as image:
            assert image.format == "JPEG"


def test_mmbench_columns(written: Path) -> None:
    head = ["index", "question", "hint", "A", "B", "C", "D"]
    tail = ["category", "image", "source", "l2-category", "comment", "split"]
    dev, chinese = table(written, "mmbench_dev_20230712.tsv"), table(written, "mmbench_dev_cn_20231003.tsv")
    assert list(dev.columns) == list(chinese.columns) == [*head, "answer", *tail]
    for name in ("mmbench_test_en_20231003.tsv", "mmbench_test_cn_20231003.tsv"):
        assert list(table(written, name).columns) == [*head, *tail]
    legacy = ["index", "question", "A", "B", "C", "D", "answer", "category", "image", "source"]
    assert list(table(written, "CCBench_legacy.tsv").columns) == legacy
    assert dev["image"].equals(chinese["image"]) and dev["answer"].equals(chinese["answer"])
    assert (dev["hint"] != "").any() and (dev["hint"] == "").any() and (dev["C"] == "").any()
    assert all(any("\u4e00" <= char <= "\u9fff" for char in text) for text in chinese["question"])


def test_mvbench_layout(written: Path) -> None:
    folder = written / "data" / "MVBench"
    assert {path.stem for path in (folder / "json").iterdir()} == {subtask.name for subtask in SUBTASKS} == set(ASKERS)
    assert [(subtask.name, subtask.folder) for subtask in SUBTASKS] == [row[:2] for row in mvbench.SUBTASKS]
    for subtask, (_, _, bound) in zip(SUBTASKS, mvbench.SUBTASKS, strict=True):
        for record in json.loads((folder / "json" / f"{subtask.name}.json").read_text(encoding="utf-8")):
            assert ("start" in record) == ("end" in record) == bound
            assert record["candidates"].count(record["answer"]) == 1
            assert len(set(record["candidates"])) == len(record["candidates"]) >= 3
            assert (folder / "video" / subtask.folder / record["video"]).exists()
    frames = folder / "video" / "tvqa" / "frames_fps3_hq" / "episodic_reasoning_000"
    assert sorted(path.name for path in frames.iterdir()) == [f"{number:05d}.jpg" for number in range(1, FRAMES + 1)]
    assert len(list(folder.rglob("*.gif"))) == 1


@pytest.mark.parametrize("name", sorted(ASKERS))
def test_every_question_has_one_right_candidate(name: str) -> None:
    answers = set()
    for seed in range(60):
        story = make_story(Random(seed), name in ABOUT_FLOOR)
        question = ASKERS[name](story, Random(seed))
        candidates = [question.answer, *question.others]
        assert len(set(candidates)) == len(candidates) in (3, 4), (seed, candidates)
        answers.add(question.answer)
        assert ASKERS[name](make_story(Random(seed), name in ABOUT_FLOOR), Random(seed)) == question
    assert len(answers) > 1


def close(pixels: np.ndarray[Any, Any], colour: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    near: np.ndarray[Any, Any] = np.abs(pixels.astype(int) - np.array(colour)).sum(axis=-1) < 60
    return near


@pytest.mark.parametrize("split", SPLITS)
def test_boxes_are_around_shapes(split: str, written: Path) -> None:
    for row in jsonl(written / "data" / "refcoco" / f"{split}.jsonl"):
        with Image.open(written / row["image"]) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert pixels.shape[:2] == (row["height"], row["width"])
        x1, y1, x2, y2 = map(int, row["bbox"])
        assert 4 <= x1 < x2 <= row["width"] - 4 and 4 <= y1 < y2 <= row["height"] - 4
        centre = pixels[(y1 + y2) // 2, (x1 + x2) // 2]
        fitting = [name for name, rgb in RGB.items() if close(centre, rgb)]
        assert len(fitting) == 1
        first = next((word for word in row["sent"].removeprefix("the ").split() if word in RGB), None)
        if first and not row["sent"].startswith("a "):
            assert fitting == [first]
        around = close(pixels[y1 - 4 : y2 + 4, x1 - 4 : x2 + 4], RGB[fitting[0]])
        rows, columns = np.nonzero(around)
        extent = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(extent - np.array([4, 4, x2 - x1 + 4, y2 - y1 + 4])).max() <= 3


def test_refcoco_shares_images_between_datasets_only(written: Path) -> None:
    images = {
        split: {row["image"] for row in jsonl(written / "data" / "refcoco" / f"{split}.jsonl")} for split in SPLITS
    }
    assert images["refcoco_val"] == images["refcoco+_val"]
    assert images["refcoco_val"].isdisjoint(images["refcoco_testA"] | images["refcocog_val"])
    assert all(len(found) == 2 for found in images.values())


def test_writers_scale(tmp_path: Path) -> None:
    for name in ("docvqa", "refcoco"):
        WRITERS[name](tmp_path / "data", 40, Random(1))
    assert len(jsonl(tmp_path / "data" / "docvqa" / "test.jsonl")) == 40
    assert len(jsonl(tmp_path / "data" / "refcoco" / "refcoco+_testB.jsonl")) == 40


def test_tokenizer_round_trip_and_transformers_agrees(written: Path) -> None:
    from transformers import Qwen2Tokenizer

    folder = written / "checkpoint"
    ours, theirs = ChatTokenizer(folder), Qwen2Tokenizer.from_pretrained(folder)
    texts = [
        chat_prompt("<img><IMG_CONTEXT></img>\nWhat is the invoice number?"),
        "图中的红色圆形在哪里？请直接回答选项字母。",
        "<ref>the red circle</ref><box>[[12, 34, 567, 890]]</box> naïve – ☃ \n\n  x",
    ]
    for text in texts:
        assert ours.decode(ours.encode(text)) == text
        assert theirs.encode(text) == ours.encode(text)
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert sorted(vocab.values()) == list(range(len(vocab)))
    assert [theirs.convert_tokens_to_ids(token) for token in SPECIAL] == [len(vocab) + i for i in range(len(SPECIAL))]
    assert (theirs.pad_token, theirs.eos_token) == ("<|endoftext|>", "<|im_end|>")
    assert len(ours.encode(chat_prompt("What color is the triangle?"))) < 40


def test_checkpoint_loads_with_strict_keys(written: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from evalkit.models import load_model

    folder = written / "checkpoint"
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = read_config(folder)
    assert config.tokens_per_tile == 16 and "say nothing about InternVL2" in str(config.evalkit_note)
    weights = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert {name.split(".")[0] for name in weights} == {"vision_model", "mlp1", "language_model"}
    language = Qwen2ForCausalLM(Qwen2Config(**content["llm_config"]))
    prefix = "language_model."
    language.load_state_dict(
        {name[len(prefix) :]: tensor for name, tensor in weights.items() if name.startswith(prefix)}, strict=True
    )
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert content["llm_config"]["vocab_size"] == len(vocab) + len(SPECIAL)
    model = load_model(str(folder), device="cpu", dtype="float32", attention="sdpa")
    assert model.describe()["note"] == content["evalkit_note"]
    assert (folder / "model.safetensors").stat().st_size < 10_000_000


def test_lessons_ask_as_evalkit_does(written: Path) -> None:
    """The prompts that the tiny model learns from are those that it is sent, for the same drawing."""
    root, card = DataRoot(written), load_card("internvl2")
    starts = {}
    for course in COURSES:
        task = next(task for task in TASKS if task.name == course.task)
        recipe = recipe_for(task, card.recipe(task.name), "internvl2")
        request = build_requests(task, list(task.load(root)), recipe, root, 112)[0]
        taught = lesson(course, recipes()[course.task], Random(1))
        question = next(iter(task.load(root))).question
        before, after = chat_prompt(request.prompt).split(question)
        asked = [prompt for prompt, _ in taught.turns[: taught.asked]]
        assert asked and all(prompt.startswith(before) and prompt.endswith(after) for prompt in asked), course.task
        starts[course.task] = before
    assert len(set(starts.values())) == 3  # images, grounding, frames


def test_choices_are_worded_as_the_tasks_word_them(written: Path, tmp_path: Path) -> None:
    image, questions = thing(Random(4))
    for question in questions:
        rows = list(rotated_rows([(image, question)], "en", "dev"))
        write_tsv(tmp_path / "data" / "mmbench" / "mmbench_dev_20230712.tsv", list(rows[0]), rows)
        samples = mmbench.TASKS[0].load(DataRoot(tmp_path))
        turns = [choice_turn(question, "en", turn) for turn in range(len(question.options))]
        assert [(sample.question, sample.references[0]) for sample in samples] == turns
    record = json.loads((written / "data/MVBench/json/moving_count.json").read_text(encoding="utf-8"))[0]
    sample = next(sample for sample in mvbench.TASKS[0].load(DataRoot(written)) if sample.id == "moving_count-0")
    candidates = record["candidates"]
    text, answer = clip_turn(record["question"], candidates, candidates.index(record["answer"]))
    assert text == sample.question
    assert mvbench.score(sample, answer).value == 1 and mvbench.score(sample, "(Z)").value == 0
