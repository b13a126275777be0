"""The golden score vectors and published numbers of another model, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli

pytestmark = pytest.mark.shared_data

# The golden MVBench holds 3 of the 20 official files: scored, and said to be incomplete.
GOLDEN = {
    "docvqa_val": 0,
    "chartqa_test_human": 0,
    "chartqa_test_augmented": 0,
    "textvqa_val": 0,
    "refcoco_val": 0,
    "mvbench": 3,
    "mmbench_dev_en": 0,
}


@pytest.mark.parametrize("task", GOLDEN)
def test_golden_scores(task: str, cli: Cli, shared: Path, tmp_path: Path) -> None:
    expected = json.loads((shared / "golden" / "expected.json").read_text())[task]
    predictions = shared / "golden" / "predictions" / f"{task}.jsonl"
    root = shared / "golden" / "root"
    done = cli("score", "--task", task, "--predictions", predictions, "--data-root", root, "--json", "--out", tmp_path)
    assert done.returncode == GOLDEN[task], done.stderr
    summary = json.loads(done.stdout)[task]
    assert summary["score"] == pytest.approx(expected["score"], abs=1e-9)
    lines = [json.loads(line) for line in (tmp_path / task / "scores.jsonl").read_text().splitlines()]
    per_sample = dict(expected["per"])
    assert {line["id"] for line in lines} == set(per_sample)
    for line in lines:
        assert line["value"] == pytest.approx(per_sample[line["id"]], abs=1e-9), line["id"]
    assert sum(summary["outcomes"].values()) == summary["n"] == len(per_sample)
    low, high = summary["ci95"]
    assert low < summary["score"] < high


@pytest.mark.parametrize(("task", "score", "n"), [("textvqa_val", 61.254, 5000), ("mmbench_dev_en", 67.687, 4377)])
def test_published_numbers_of_llava(task: str, score: float, n: int, cli: Cli, shared: Path) -> None:
    predictions = shared / "data" / "predictions" / "llava-1.5-13b" / f"{task}.jsonl"
    args = ["--task", task, "--predictions", predictions, "--data-root", shared / "data" / "root", "--json"]
    done = cli("score", *args)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)[task]
    assert round(summary["score"], 3) == score
    assert summary["n"] == summary["expected_n"] == n


SHORT = " Answer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."


@pytest.mark.parametrize(
    ("task", "n", "place", "prompt"),
    [
        ("docvqa_val", 5349, 1, f"<image>\nWhat is name of university?{SHORT}"),
        ("docvqa_test", 5188, 0, f"<image>\nWhat is the dividend payout in 2012?{SHORT}"),
        ("chartqa_test_human", 1250, 2, f"<image>\nHow many bars are shown in the chart?{SHORT}"),
        (
            "chartqa_test_augmented",
            1250,
            0,
            f"<image>\nHow many stores did Saint Laurent operate in Western Europe in 2020?{SHORT}",
        ),
        ("textvqa_val", 5000, 0, f"<image>\nWhat is the brand of this camera?{SHORT}"),
        (
            "mmbench_dev_en",
            4377,
            1,
            "<image>\nWhich of the following could Laura and Isabella's test show?\n"
            "A. if the concrete from each batch took the same amount of time to dry\n"
            f"B. if a new batch of concrete was firm enough to use{LETTER}",
        ),
        (
            "refcoco_val",
            10834,
            0,
            "<image>\nPlease provide the bounding box coordinate of the region this sentence describes: "
            "<ref>bowl behind the others can only see part</ref>",
        ),
        (
            "refcoco+_val",
            10758,
            0,
            "<image>\nPlease provide the bounding box coordinate of the region this sentence describes: "
            "<ref>white bowl with vertical stripes</ref>",
        ),
        (
            "refcocog_val",
            4896,
            0,
            "<image>\nPlease provide the bounding box coordinate of the region this sentence describes: "
            "<ref>a bush of plant behind middle woman</ref>",
        ),
    ],
)
def test_show_on_the_real_annotations(task: str, n: int, place: int, prompt: str, cli: Cli, shared: Path) -> None:
    shown = json.loads(cli("show", task, "--data-root", shared / "data" / "root", "--json").stdout)
    assert len(shown) == n
    assert shown[place]["prompt"] == prompt
    assert shown[place]["media"][0]["grid"] is None  # the images are not there
    assert {"id", "prompt", "media", "generation", "references", "group"} <= shown[place].keys()


def test_show_mvbench_prompt(cli: Cli, shared: Path) -> None:
    done = cli("show", "mvbench", "--data-root", shared / "golden" / "root", "--limit", "1", "--json")
    assert done.returncode == 3 and "data/MVBench/json/" in done.stderr
    (entry,) = json.loads(done.stdout)
    frames = "".join(f"Frame{number}: <image>\n" for number in range(1, 17))
    instruction = (
        "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of "
        "objects, and the action and pose of persons. Based on your observations, select the best option that "
        "accurately addresses the question.\n"
    )
    question = "Question: What?\nOptions:\n(A) 3\n(B) no\n(C) a blue metal sphere collides\n"
    question += "(D) The person opened the door.\n(E) 0\nOnly give the best option."
    assert entry["prompt"] == f"{frames}{instruction}\n{question}"
    assert entry["id"] == "action_sequence-0"
    assert entry["generation"]["max_new_tokens"] == 1000


def test_show_counts_the_tokens_of_a_checkpoint(cli: Cli, shared: Path, tiny_checkpoint: Path) -> None:
    root = shared / "data" / "root-with-images"
    args = ["--data-root", root, "--limit", "1", "--model", tiny_checkpoint, "--json"]
    (entry,) = json.loads(cli("show", "chartqa_test_human", *args).stdout)
    tiles = entry["media"][0]["tiles"]
    columns, rows = entry["media"][0]["grid"]
    assert tiles == columns * rows + (columns * rows > 1)
    assert entry["model_prompt"].startswith("<|im_start|>system\n你是由上海人工智能实验室")
    assert entry["model_prompt"].endswith(
        f"Which line represents data about boys?{SHORT}<|im_end|><|im_start|>assistant\n"
    )
    assert entry["prompt_tokens"] > 256 * tiles
