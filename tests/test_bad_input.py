"""Bad input: one clear line, the contract's exit code, never a traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.conftest import REPO, Cli, write_jsonl

Arguments = list[str | Path]


@pytest.fixture
def root(demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo's data that a test may damage."""
    copy = tmp_path / "root"
    shutil.copytree(demo / "data", copy / "data")
    return copy


def check(cli: Cli, args: Arguments, code: int, *parts: str) -> None:
    done = cli(*args)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ([], ["COMMAND"]),
        (["nonsense"], ["nonsense"]),
        (["run"], ["--model"]),
        (
            ["run", "--model", "M", "--data-root", "tests", "--out", "x", "--limit", "0"],
            ["--limit", "must be a positive integer"],
        ),
        (["tasks", "--data-root", "no/such/folder"], ["no/such/folder", "not a folder"]),
        (["tasks", "--card", "internvl9"], ["internvl9", "internvl2"]),
        (["show", "docvqa_vall", "--data-root", "tests"], ["docvqa_vall", "docvqa_val"]),
        (["score"], ["--predictions"]),
        (["score", "tests"], ["run.json"]),
        (["table", "tests"], ["scores.json"]),
        (
            ["run", "--model", "no/such/model/x", "--data-root", "tests", "--out", "x", "--tasks", "mvbench"],
            ["mvbench"],
        ),
    ],
)
def test_usage(args: Arguments, parts: list[str], cli: Cli) -> None:
    code = 3 if "mvbench" in args else 2
    check(cli, args, code, *parts)


def test_missing_data_files(cli: Cli, tmp_path: Path) -> None:
    args: Arguments = ["show", "docvqa_val", "--data-root", tmp_path]
    check(cli, args, 3, "data/docvqa/val.jsonl (docvqa_val)")


def test_one_of_two_tasks_has_no_data(cli: Cli, demo: Path, root: Path, tmp_path: Path) -> None:
    """What is there is run and kept; the exit code says that it was not all."""
    (root / "data" / "textvqa" / "textvqa_val.jsonl").unlink()
    out = tmp_path / "run"
    args = ["--tasks", "textvqa_val,docvqa_val", "--data-root", root, "--out", out]
    done = cli("run", "--model", demo / "checkpoint", *args)
    assert done.returncode == 3 and "textvqa_val.jsonl" in done.stderr
    assert list(json.loads((out / "scores.json").read_text())) == ["docvqa_val"]


def twice(key: str) -> Callable[[str], str]:
    """Return a damage that repeats a label file's first record at its end."""
    return lambda text: json.dumps({key: [*(records := json.loads(text)[key]), records[0]]})


def test_a_label_file_that_names_a_question_twice(root: Path, cli: Cli) -> None:
    path = root / "data" / "docvqa" / "val" / "val_v1.0.json"
    path.write_text(twice("data")(path.read_text(encoding="utf-8")), encoding="utf-8")
    check(cli, ["show", "docvqa_val", "--data-root", root], 2, "val_v1.0.json: record", "duplicate gold answers")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"bbox": [5, 9, 20, 9]}, ["'bbox'", "y1 < y2"]),
        ({"bbox": [20, 3, 5, 9]}, ["'bbox'", "x1 < x2"]),
        ({"height": 0}, ["'height' must be above 0"]),
        ({"width": -3}, ["'width' must be above 0"]),
    ],
)
def test_gold_boxes_without_area(changes: dict[str, object], parts: list[str], root: Path, cli: Cli) -> None:
    path = root / "data" / "refcoco" / "refcoco_val.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    records[2] |= changes
    write_jsonl(path, records)
    check(cli, ["show", "refcoco_val", "--data-root", root], 2, "refcoco_val.jsonl:3", *parts)


@pytest.mark.parametrize("line", [2, 4])
def test_a_table_row_with_too_many_cells(line: int, root: Path, cli: Cli) -> None:
    path = root / "data" / "mmbench" / "mmbench_dev_20230712.tsv"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[line - 1] += "\tone more"
    path.write_text("\n".join(lines), encoding="utf-8")
    check(cli, ["show", "mmbench_dev_en", "--data-root", root], 2, "mmbench_dev_20230712.tsv", f"line {line}")


def test_the_last_of_equal_candidates_is_gold(root: Path, cli: Cli) -> None:
    """As in the official loop over MVBench's candidates; an answer that is no candidate is an error."""
    path = root / "data" / "MVBench" / "json" / "moving_count.json"
    records = json.loads(path.read_text(encoding="utf-8"))
    records[0] |= {"candidates": ["3", "4", "3"], "answer": "3"}
    path.write_text(json.dumps(records))
    shown = json.loads(cli("show", "mvbench", "--data-root", root, "--json").stdout)
    references = {entry["id"]: entry["references"] for entry in shown}
    assert references["moving_count-0"] == ["C"]
    records[0]["answer"] = "5"
    path.write_text(json.dumps(records))
    check(cli, ["show", "mvbench", "--data-root", root], 2, "moving_count.json: record 0", "not among the candidates")


@pytest.mark.parametrize(
    ("file", "damage", "parts"),
    [
        ("textvqa/textvqa_val.jsonl", lambda text: text[:-20], ["textvqa_val.jsonl:", "not valid JSON"]),
        ("textvqa/textvqa_val.jsonl", lambda text: "[1]\n" + text, ["textvqa_val.jsonl:1", "must be a JSON object"]),
        ("textvqa/textvqa_val.jsonl", lambda text: text.replace('"question"', '"q"', 1), ["no key 'question'"]),
        ("textvqa/textvqa_val.jsonl", lambda text: text.replace("data/textvqa", "../..", 1), []),
        ("textvqa/textvqa_val.jsonl", lambda text: text + text.splitlines()[0], ["occurs twice"]),
        (
            "textvqa/textvqa_val_annotations.json",
            lambda text: text[:-5],
            ["textvqa_val_annotations.json", "not valid JSON"],
        ),
        ("textvqa/textvqa_val_annotations.json", lambda text: '{"annotations": 3}', ["'annotations' must be a list"]),
        ("textvqa/textvqa_val_annotations.json", twice("annotations"), ["record 16: duplicate gold answers"]),
    ],
)
def test_damaged_annotations(
    file: str, damage: Callable[[str], str], parts: list[str], root: Path, cli: Cli, demo: Path, tmp_path: Path
) -> None:
    path = root / "data" / file
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    if parts:
        check(cli, ["show", "textvqa_val", "--data-root", root], 2, *parts)
    else:  # a path that leaves the data root is that sample's failure
        args = ["--tasks", "textvqa_val", "--data-root", root, "--out", tmp_path / "run"]
        done = cli("run", "--model", demo / "checkpoint", *args)
        assert done.returncode in (2, 3) and "Traceback" not in done.stderr


def test_not_utf8(root: Path, cli: Cli) -> None:
    (root / "data" / "docvqa" / "val.jsonl").write_bytes(b"\xff\xfe{}\n")
    check(cli, ["show", "docvqa_val", "--data-root", root], 2, "val.jsonl", "UTF-8")


def test_malformed_tsv(root: Path, cli: Cli) -> None:
    path = root / "data" / "mmbench" / "mmbench_dev_20230712.tsv"
    path.write_text(path.read_text(encoding="utf-8") + '9\t"no end\n', encoding="utf-8")
    check(cli, ["show", "mmbench_dev_en", "--data-root", root], 2, "mmbench_dev_20230712.tsv", "not a readable table")


@pytest.mark.parametrize(
    ("lines", "code", "parts"),
    [
        (['{"id": "0", "response": "a"}', '{"id": "0", "response": "b"}'], 2, [":2", "occurs twice"]),
        (['{"id": "nobody", "response": "a"}'], 2, [":1", "'nobody'", "not in the task's data"]),
        (['{"id": 0, "response": "a"}'], 2, [":1", "'id' must be a string"]),
        (['{"id": "0"}'], 2, [":1", "'response' must be a string"]),
        (['{"id": "0", "resp'], 2, [":1", "not valid JSON"]),
        (["[]"], 2, [":1", "must be an object"]),
        (['{"id": "0", "response": "a"}'], 3, ["samples have no prediction", "1, 2, 3, 4, 5", "--allow-missing"]),
    ],
)
def test_predictions(lines: list[str], code: int, parts: list[str], cli: Cli, demo: Path, tmp_path: Path) -> None:
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text("\n".join(lines) + "\n")
    args: Arguments = ["score", "--task", "refcoco_val", "--predictions", predictions, "--data-root", demo]
    check(cli, args, code, *parts)


def test_allowed_missing_counts_wrong_and_is_said(cli: Cli, demo: Path, tmp_path: Path) -> None:
    predictions = write_jsonl(tmp_path / "predictions.jsonl", [{"id": "0", "response": "[[0, 0, 1000, 1000]]"}])
    args: Arguments = ["score", "--task", "refcoco_val", "--predictions", predictions, "--data-root", demo]
    done = cli(*args, "--allow-missing", "--json")
    assert done.returncode == 0
    summary = json.loads(done.stdout)["refcoco_val"]
    assert summary["outcomes"]["missing"] == summary["n"] - 1
    assert "and score 0" in done.stderr


def edit_config(checkpoint: Path, **changes: object) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (lambda c: (c / "config.json").unlink(), ["config.json", "cannot be read"]),
        (lambda c: (c / "config.json").write_text("{"), ["config.json", "not valid JSON"]),
        (lambda c: edit_config(c, model_type="llava"), ["model_type is 'llava'", "internvl_chat"]),
        (lambda c: edit_config(c, ps_version="v1"), ["'ps_version'", "v1"]),
        (lambda c: edit_config(c, llm_config={"model_type": "internlm2"}), ["llm_config.model_type", "internlm2"]),
        (lambda c: edit_config(c, force_image_size="big"), ["'force_image_size'", "big"]),
        (lambda c: (c / "model.safetensors").unlink(), ["no *.safetensors"]),
        (lambda c: (c / "model.safetensors").write_bytes(b"x" * 100), ["model.safetensors", "not a readable"]),
        (lambda c: (c / "vocab.json").write_text("{"), ["tokenizer"]),
    ],
)
def test_checkpoints(damage: Callable[[Path], object], parts: list[str], cli: Cli, demo: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(demo / "checkpoint", checkpoint)
    damage(checkpoint)
    args: Arguments = ["--tasks", "refcoco_val", "--data-root", demo, "--out", tmp_path / "run"]
    check(cli, ["run", "--model", checkpoint, *args], 2, *parts)


@pytest.mark.parametrize("change", ["missing", "unknown", "misshapen"])
def test_tensors_that_do_not_fit(change: str, cli: Cli, demo: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(demo / "checkpoint", checkpoint)
    tensors = load_file(checkpoint / "model.safetensors")
    name = "mlp1.3.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unknown":
        tensors["mlp1.9.weight"] = np.zeros(3, dtype=np.float32)
    else:
        tensors[name] = np.zeros((2, 2), dtype=np.float32)
    save_file(tensors, checkpoint / "model.safetensors")
    args: Arguments = ["--tasks", "refcoco_val", "--data-root", demo, "--out", tmp_path / "run"]
    check(cli, ["run", "--model", checkpoint, *args], 2, change, "mlp1.")


def test_a_typo_in_a_card(cli: Cli, demo: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    text = (REPO / "configs" / "cards" / "internvl2.yaml").read_text(encoding="utf-8")
    card.write_text(text.replace("max_tiles:", "max_tilse:", 1), encoding="utf-8")
    line = next(number for number, row in enumerate(text.splitlines(), start=1) if "max_tiles:" in row)
    check(cli, ["tasks", "--card", card], 2, f"card.yaml:{line}", "max_tilse", "max_tiles")


def test_a_video_without_frames(cli: Cli, demo: Path, root: Path, tmp_path: Path) -> None:
    video = next((root / "data" / "MVBench" / "video").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:64])
    args = ["--tasks", "mvbench", "--data-root", root, "--out", tmp_path / "run"]
    done = cli("run", "--model", demo / "checkpoint", *args)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    lines = (tmp_path / "run" / "mvbench" / "scores.jsonl").read_text().splitlines()
    failed = [line for line in map(json.loads, lines) if line["outcome"] == "media_error"]
    assert failed and all(video.name in line["reason"] and line["value"] == 0 for line in failed)


def test_an_unwritable_run_folder(cli: Cli, demo: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    args: Arguments = ["--tasks", "refcoco_val", "--data-root", demo, "--out", blocked / "run"]
    check(cli, ["run", "--model", demo / "checkpoint", *args], 2, "file")


def test_a_line_torn_inside_a_letter_is_no_response(tmp_path: Path) -> None:
    from evalkit.records import Response
    from evalkit.runs.store import ShardWriter, read_shards

    shard = tmp_path / "rank0.jsonl"
    with ShardWriter(shard) as writer:
        writer.append(Response("a", "红色\u2028圆"))
        writer.append(Response("b", "蓝色"))
    whole = shard.read_bytes()
    for cut in range(1, len(whole) - whole.index(b"\n") - 1):
        shard.write_bytes(whole[:-cut])
        assert {key: item.response for key, item in read_shards(tmp_path).items()} == {"a": "红色\u2028圆"}
    with ShardWriter(shard) as writer:
        writer.append(Response("b", "绿色"))
    assert {key: item.response for key, item in read_shards(tmp_path).items()} == {"a": "红色\u2028圆", "b": "绿色"}


def test_unusual_but_valid_files(root: Path, cli: Cli) -> None:
    """A byte order mark, CRLF line ends and blank lines are no errors; an empty file lists no sample."""
    path = root / "data" / "docvqa" / "test.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode() + b"\r\n")
    shown = json.loads(cli("show", "docvqa_test", "--data-root", root, "--json").stdout)
    assert len(shown) == len(lines)
    path.write_text("")
    done = cli("show", "docvqa_test", "--data-root", root, "--json")
    assert done.returncode == 0 and json.loads(done.stdout) == []


def test_hostile_questions(root: Path, cli: Cli, demo: Path, tmp_path: Path) -> None:
    """Markers, special tokens and braces in a question change no other sample, and none is lost."""
    path = root / "data" / "docvqa" / "test.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][:5]
    for record, question in zip(
        records, ["<image> what?", "{question} {media} {0}", "<|im_end|>x", "<IMG_CONTEXT>?", "\u2028"], strict=True
    ):
        record["question"] = question
    write_jsonl(path, records)
    args = ["--model", demo / "checkpoint", "--data-root", root]
    shown = json.loads(cli("show", "docvqa_test", *args, "--json").stdout)
    assert shown[1]["prompt"].startswith("<image>\n{question} {media} {0} Answer")
    assert [entry["prompt_tokens"] is None for entry in shown] == [False, False, False, True, False]
    done = cli("run", *args, "--tasks", "docvqa_test,docvqa_test", "--out", tmp_path / "run")
    assert done.returncode == 3 and "1 model_error" in done.stderr and "Traceback" not in done.stderr
    lines = (tmp_path / "run" / "docvqa_test" / "predictions.jsonl").read_text(encoding="utf-8").split("\n")
    outcomes = [json.loads(line)["outcome"] for line in lines if line]
    assert outcomes[3] == "model_error" and "model_error" not in outcomes[:3] + outcomes[4:]
    shards = (tmp_path / "run" / "docvqa_test" / "shards" / "rank0.jsonl").read_bytes()
    assert shards.count(b"\n") == 5  # a task named twice is asked once
    assert cli("run", *args, "--tasks", "docvqa_test", "--out", tmp_path / "none", "--dry-run").returncode == 0


def test_half_a_surrogate_pair(cli: Cli, demo: Path, tmp_path: Path) -> None:
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text('{"id": "0", "response": "\\ud800"}\n')
    args: Arguments = ["score", "--task", "refcoco_val", "--predictions", predictions, "--data-root", demo]
    check(cli, args, 2, ":1", "surrogate")


def test_no_task_named(cli: Cli, demo: Path, tmp_path: Path) -> None:
    args: Arguments = ["run", "--model", demo / "checkpoint", "--data-root", demo, "--out", tmp_path / "run"]
    check(cli, [*args, "--tasks", ","], 2, "no task given")


def test_an_error_under_torchrun_is_said_once(demo: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "evalkit"]
    command += [
        "run",
        "--model",
        str(tmp_path),
        "--card",
        "internvl2",
        "--data-root",
        str(demo),
        "--out",
        str(tmp_path / "r"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=300, check=False)
    assert done.returncode != 0
    assert done.stderr.count("config.json: cannot be read") == 1


def test_a_sample_that_the_model_cannot_answer_does_not_end_the_run(demo: Path, tmp_path: Path) -> None:
    """An out-of-memory error is injected for the longest question of each image; the others are answered alone."""
    code = (
        "import sys, torch\n"
        "from evalkit.models.internvl2.engine import Engine\n"
        "whole = Engine.answer\n"
        "def answer(self, groups, sampling=None):\n"
        "    groups = list(groups)\n"
        "    asked = [prompt for group in groups for prompt in group.prompts]\n"
        "    if any(len(prompt.ids) == 240 or len(asked) > 3 for prompt in asked):\n"
        "        raise torch.OutOfMemoryError('out of memory, injected')\n"
        "    return whole(self, groups, sampling)\n"
        "Engine.answer = answer\n"
        "from evalkit.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    out = tmp_path / "run"
    args = [
        "run",
        "--model",
        str(demo / "checkpoint"),
        "--tasks",
        "docvqa_val",
        "--data-root",
        str(demo),
        "--out",
        str(out),
    ]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=REPO, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    lines = [json.loads(line) for line in (out / "docvqa_val" / "predictions.jsonl").read_text().split("\n") if line]
    assert len(lines) == 16
    for line in lines:
        assert line["outcome"] in ("ok", "truncated", "model_error")
        if line["outcome"] == "model_error":
            assert "injected" in line["reason"]
    assert sum(line["outcome"] != "model_error" for line in lines) >= 12


def test_a_missing_gold_answer_is_found_before_inference(root: Path, cli: Cli, demo: Path, tmp_path: Path) -> None:
    path = root / "data" / "chartqa" / "test_human.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    del records[2]["answer"]
    write_jsonl(path, records)
    args: Arguments = ["--tasks", "chartqa_test_human", "--data-root", root, "--out", tmp_path / "run"]
    check(cli, ["run", "--model", demo / "checkpoint", *args], 2, "chartqa_test_human", "'2' has no gold answer")
    assert not (tmp_path / "run").exists()
    assert cli("data", "check", "chartqa_test_human", "--data-root", root).returncode == 3


def test_foreign_keys_are_kept_and_mean_nothing(cli: Cli, demo: Path, tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [
        {"id": str(i), "response": "x", "outcome": "success", "note": [i]} for i in range(14)
    ]
    predictions = write_jsonl(tmp_path / "predictions.jsonl", lines)
    args: Arguments = [
        "--task",
        "refcoco_val",
        "--predictions",
        predictions,
        "--data-root",
        demo,
        "--out",
        tmp_path / "o",
    ]
    assert cli("score", *args).returncode == 0
    kept = (tmp_path / "o" / "refcoco_val" / "predictions.jsonl").read_text().split("\n")
    assert [json.loads(line)["note"] for line in kept if line] == [[i] for i in range(14)]


@pytest.mark.parametrize("content", ["{}", '{"settings": {}}', "[]", "{"])
def test_damaged_run_folders(content: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    (tmp_path / "scores.json").write_text('{"refcoco_val": {}}')
    check(cli, ["score", tmp_path], 2, "run.json")
    check(cli, ["table", tmp_path], 2, "scores.json")


def test_an_unusable_device(cli: Cli, demo: Path, tmp_path: Path) -> None:
    args: Arguments = ["--data-root", demo, "--out", tmp_path / "run", "--device", "foo", "--tasks", "refcoco_val"]
    check(cli, ["run", "--model", demo / "checkpoint", *args], 2, "device 'foo'")
    check(cli, ["run", "--model", demo / "checkpoint", *args, "--dry-run"], 2, "device 'foo'")
