"""The video rows of VLMEvalKit: prompts, frames, pixels, judge requests and scores of the official code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.card import load_card
from evalkit.data.lmu import lmu_rows
from evalkit.data.root import DataRoot
from evalkit.media.load import load, probe
from evalkit.metrics.read_back import NAN, read_back
from evalkit.plugins import load_tasks
from evalkit.records import Outcome, Request, Response
from evalkit.requests import build_requests
from evalkit.scoring import score_task
from evalkit.task import Task
from tests.conftest import Cli
from tests.test_engine_golden import compare, normalised
from tests.vk_golden import GOLDEN, expected_of, judge_lines, lines_of, samples_of, scored, temperatures

pytestmark = pytest.mark.shared_data

JUDGED = ("mmbench_video_8f", "mmbench_video_16f")
NAMES = (*JUDGED, "videomme_wo_subs", "videomme_w_subs")


def answers_of(name: str) -> dict[str, str]:
    return {line["id"]: line["response"] for line in lines_of(GOLDEN / "predictions" / f"{name}.jsonl")}


def wrong_scores(task: Task) -> list[str]:
    """Return what differs from the golden scores: the score, subsets, values and parsed answers."""
    wanted, found = expected_of(task.name), scored(task, task.name in JUDGED)
    numbers = {
        "score": (found.summary.score, wanted["score"]),
        **{name: (found.summary.subsets.get(name, {}).get("score"), one) for name, one in wanted["subsets"].items()},
        **{line.id: (line.value, wanted["per"].get(line.id)) for line in found.lines},
    }
    wrong = [name for name, (ours, theirs) in numbers.items() if ours != pytest.approx(theirs, abs=1e-9)]
    ratings = {key: None if rating < 0 else str(rating) for key, rating in wanted.get("ratings", {}).items()}
    parsed = wanted.get("answers", ratings)
    wrong += [f"answer of {line.id}" for line in found.lines if line.answer != parsed.get(line.id)]
    ids = {line.id for line in found.lines}
    return wrong + sorted((found.summary.subsets.keys() ^ wanted["subsets"].keys()) | (ids ^ wanted["per"].keys()))


def wrong_requests(task: Task) -> list[str]:
    """Return the ids about which the judge is asked in another way than officially, or not at all, or needlessly."""
    judge, answers = task.judge, answers_of(task.name)
    record = {line["id"]: line for line in judge_lines(task.name)}
    if judge is None:
        return []
    wrong = []
    for sample in samples_of(task):
        prompt, official = judge.ask(sample, answers[sample.id]), record.get(sample.id)
        if prompt is None or official is None:
            alike = prompt is official
        else:
            system = {"role": "system", "content": judge.system}
            messages = [system, {"role": "user", "content": [{"type": "text", "text": prompt}]}]
            settings = judge.name, judge.max_new_tokens, temperatures(judge, sample, official)
            wanted = official["model"], official["max_tokens"], [*official["temperatures"], None]
            alike = messages == official["messages"] and settings == wanted
        wrong += [] if alike else [sample.id]
    return wrong


def requests_of(name: str, recipe: Any = None) -> list[tuple[Request, dict[str, Any]]]:
    """Return the requests for the golden prompts' samples, and what the official code builds."""
    task, root = load_tasks()[name], DataRoot(GOLDEN / "prompts_root")
    recipe = recipe or load_card("internvl2").recipe(name)
    assert recipe is not None
    requests = build_requests(task, list(task.load(root)), recipe, root, 448)
    wanted = json.loads((GOLDEN / "prompts.json").read_text(encoding="utf-8"))[name]
    assert [request.id for request in requests] == [entry["id"] for entry in wanted]
    return list(zip(requests, wanted, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_golden_scores(name: str) -> None:
    assert wrong_scores(load_tasks()[name]) == []


@pytest.mark.parametrize("name", JUDGED)
def test_the_judge_is_asked_as_officially(name: str) -> None:
    assert wrong_requests(load_tasks()[name]) == []


@pytest.mark.parametrize("name", NAMES)
def test_answers_come_back_from_xlsx_as_recorded(name: str) -> None:
    changed = {}
    for key, answer in answers_of(name).items():
        back = read_back(answer)
        if back != answer:
            changed[key] = NAN if back is None else back
    assert changed == expected_of(name)["as_read_back"]


@pytest.mark.parametrize("name", JUDGED)
def test_the_command_line_scores_a_judge_s_record(name: str, cli: Cli, tmp_path: Path) -> None:
    record, root = GOLDEN / "judge" / f"{name}.jsonl", GOLDEN / "root"
    args = ["--predictions", GOLDEN / "predictions" / f"{name}.jsonl", "--judged", record, "--data-root", root]
    done = cli("score", "--task", name, *args, "--json", "--out", tmp_path)
    found = json.loads(done.stdout)[name]
    wanted = expected_of(name)
    assert found["score"] == pytest.approx(wanted["score"], abs=1e-9), done.stderr
    assert f"{found['score']:.2f}" == wanted["printed"] and found["metric"] == "gpt_score" and found["maximum"] == 3
    assert found["judge"]["asked"] == found["judge"]["judged"] == len(judge_lines(name))
    assert found["judge"]["unused_replies"] == 0
    assert found["n"] == sum(found["outcomes"].values()) == len(wanted["per"])


def test_without_a_judge_mmbench_video_has_no_ratings() -> None:
    task = load_tasks()["mmbench_video_8f"]
    samples = samples_of(task)
    found = score_task(task, samples, {sample.id: Response(sample.id, "A kite.") for sample in samples})
    assert found.summary.score == 0 and found.summary.outcomes[Outcome.UNJUDGED] == len(samples)


@pytest.mark.parametrize("name", NAMES[2:])
def test_answers_without_a_letter_leave_the_mean(name: str) -> None:
    wanted, found = expected_of(name), scored(load_tasks()[name], False)
    assert [line.id for line in found.lines if line.answer is None] == wanted["excluded"]
    counted = 100 * sum(line.value or 0 for line in found.lines) / len(found.lines)
    assert counted == pytest.approx(wanted["score_if_invalid_counted_wrong"], abs=1e-9)


def test_recorded_answers_to_video_mme_score_as_recorded(cli: Cli, shared: Path) -> None:
    predictions = shared / "data" / "predictions" / "videomme-template" / "videomme_wo_subs.jsonl"
    args = ["--predictions", predictions, "--data-root", shared / "data" / "root", "--json"]
    done = cli("score", "--task", "videomme_wo_subs", *args)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["videomme_wo_subs"]
    assert found["score"] == pytest.approx(41.18518518518518, abs=1e-9)
    assert found["n"] == found["expected_n"] == found["outcomes"]["ok"] == 2700
    subsets = {name: (one["n"], round(one["score"], 3)) for name, one in found["subsets"].items()}
    assert subsets == {"short": (900, 46.333), "medium": (900, 40.333), "long": (900, 36.889)}


@pytest.mark.parametrize("name", NAMES)
def test_golden_prompts_and_frames(name: str) -> None:
    for request, wanted in requests_of(name):
        (view,) = request.views
        layout = probe(view, DataRoot(GOLDEN / "prompts_root"))
        assert request.prompt == wanted["question"]
        assert request.generation.max_new_tokens == 19
        assert layout is not None and list(layout.frames) == wanted["frame_indices"]
        assert layout.fps == pytest.approx(wanted["fps"], abs=1e-9)
        assert view.max_tiles == wanted["max_num"]
        assert [layout.tiles] * layout.images == wanted["num_patches_list"]


# The golden pixels of Video-MME's frames stand once, with the row without subtitles.
@pytest.mark.parametrize(
    ("name", "frames"), [("mmbench_video_8f", 16), ("mmbench_video_16f", 32), ("videomme_wo_subs", 32)]
)
def test_golden_pixels(name: str, frames: int) -> None:
    root, compared = DataRoot(GOLDEN / "prompts_root"), 0
    for request, wanted in requests_of(name):
        official = [image["pixels"] for image in wanted["images"] if "pixels" in image]
        for tiles, pixels in zip(load(request.views[0], root) if official else (), official, strict=True):
            values = normalised([tiles])
            assert values is not None
            compare(values, pixels, 1e-6)
            compared += 1
    assert compared == frames


def test_video_mme_is_read_from_the_hub_s_parquet(cli: Cli, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    task, golden = load_tasks()["videomme_w_subs"], DataRoot(GOLDEN / "prompts_root")
    rows = lmu_rows(golden, task.files[0])
    questions = [row.text("question").split("\n") for row in rows]
    columns = {
        "videoID": [row.text("video") for row in rows],
        "duration": [row.text("duration") for row in rows],
        "question": ["\n".join(lines[:-4]) for lines in questions],
        "options": [lines[-4:] for lines in questions],
        "answer": [row.text("answer") for row in rows],
    }
    folder = tmp_path / "data" / "LMUData" / "Video-MME"
    (folder / "videomme").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "videomme" / "test-00000-of-00001.parquet")
    read, wanted = ([replace(sample, fields={}) for sample in task.load(root)] for root in (DataRoot(tmp_path), golden))
    assert read == wanted
    done = cli("show", task.name, "--data-root", tmp_path, "--json")
    assert done.returncode == 0 and [entry["id"] for entry in json.loads(done.stdout)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("name", NAMES)
def test_absent_videos_are_shown_without_frames(name: str, cli: Cli) -> None:
    args = ["--data-root", GOLDEN / "root", "--limit", "1", "--json"]
    done = cli("show", name, *args)
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)
    assert entry["media"][0]["path"].endswith("/video/bikes.mp4")
    assert entry["generation"]["max_new_tokens"] == 19
    if name == "videomme_w_subs":
        assert "subtitles are listed below:\n\nSelect the best answer" in entry["prompt"]
