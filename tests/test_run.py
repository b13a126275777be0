"""Runs from the command to the card: one process, torchrun, two nodes; resuming; every task of the demo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPO, Cli

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def torchrun(ranks: int, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, "--nproc-per-node", str(ranks), "-m", "evalkit", "run", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPO, timeout=600, check=False)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def responses(out: Path) -> dict[str, list[tuple[str, str]]]:
    """Return (id, response) of every task, in file order."""
    files = sorted(out.glob("*/predictions.jsonl"))
    return {file.parent.name: [(line["id"], line["response"]) for line in read_lines(file)] for file in files}


@pytest.fixture(scope="module")
def single(demo: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of the demo in one process."""
    out = tmp_path_factory.mktemp("single") / "run"
    done = cli("run", "--model", demo / "checkpoint", "--card", "internvl2", "--data-root", demo, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_the_demo_runs_every_task(single: Path, demo: Path, cli: Cli) -> None:
    scores = json.loads((single / "scores.json").read_text())
    listed = json.loads(cli("tasks", "--json", "--data-root", demo).stdout)
    on_card = {row["task"] for row in listed if row["card_rows"] and row["present"]}
    assert on_card | {"mvbench"} == set(scores), "the demo has some of MVBench's files only"
    for name, summary in scores.items():
        shown = json.loads(cli("show", name, "--data-root", demo, "--json").stdout) if name == "mvbench" else None
        lines = read_lines(single / name / "predictions.jsonl")
        assert summary["n"] == len(lines) == sum(summary["outcomes"].values())
        assert summary["outcomes"]["media_error"] == summary["outcomes"]["model_error"] == 0
        assert {"id", "response", "outcome", "prompt_tokens", "output_tokens"} <= lines[0].keys()
        if shown is not None:
            assert [line["id"] for line in lines] == [entry["id"] for entry in shown]
    assert scores["docvqa_test"]["score"] is None
    assert scores["refcoco_val"]["score"] is not None
    card = (single / "card.md").read_text()
    assert "say nothing about InternVL2" in card and "81.7" in card
    record = json.loads((single / "run.json").read_text())
    assert record["launches"][0]["samples"] == sum(summary["n"] for summary in scores.values())
    assert record["settings"]["model"]["attention"] == "sdpa"


@pytest.mark.parametrize("ranks", [2, 3])
def test_torchrun_gives_the_same_answers(ranks: int, single: Path, demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = torchrun(ranks, "--model", demo / "checkpoint", "--card", "internvl2", "--data-root", demo, "--out", out)
    assert done.returncode == 0, done.stderr
    assert responses(out) == responses(single)
    assert json.loads((out / "scores.json").read_text()) == json.loads((single / "scores.json").read_text())
    mine, theirs = (json.loads((folder / "run.json").read_text()) for folder in (out, single))
    assert mine["fingerprint"] == theirs["fingerprint"]
    ranks_that_wrote = {path.name for path in out.glob("*/shards/*.jsonl")}
    assert ranks_that_wrote == {f"rank{rank}.jsonl" for rank in range(ranks)}


def test_two_nodes_on_loopback(single: Path, demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(REPO / "scripts" / "two_nodes.sh"), str(demo), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=REPO, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert responses(out) == responses(single)


def test_engines_agree(single: Path, demo: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    args = ["--tasks", "refcoco_val,mvbench,textvqa_val", "--data-root", demo, "--out", out, "--engine", "reference"]
    done = cli("run", "--model", demo / "checkpoint", *args)
    assert done.returncode == 0, done.stderr
    grouped = responses(single)
    assert responses(out) == {name: grouped[name] for name in ("refcoco_val", "mvbench", "textvqa_val")}


def test_a_stopped_run_continues_with_other_ranks(single: Path, demo: Path, tmp_path: Path) -> None:
    """Half the answers of one shard are gone and its last line is torn, as after a crash."""
    out = tmp_path / "run"
    shutil.copytree(single, out)
    shard = out / "refcoco_val" / "shards" / "rank0.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True)
    shard.write_bytes(b"".join(lines[: len(lines) // 2]) + lines[-1][:20])
    for stale in ("predictions.jsonl", "scores.jsonl"):
        (out / "refcoco_val" / stale).unlink()
    shutil.rmtree(out / "mvbench")
    done = torchrun(2, "--model", demo / "checkpoint", "--card", "internvl2", "--data-root", demo, "--out", out)
    assert done.returncode == 0, done.stderr
    assert responses(out) == responses(single)
    assert json.loads((out / "scores.json").read_text()) == json.loads((single / "scores.json").read_text())
    asked = json.loads((out / "run.json").read_text())["launches"][-1]["samples"]
    assert asked == len(lines) - len(lines) // 2 + len(responses(single)["mvbench"])


def test_other_settings_are_refused_by_name(single: Path, demo: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(single, out)
    model = demo / "checkpoint"
    done = cli(
        "run", "--model", model, "--card", "internvl2", "--data-root", demo, "--out", out, "--engine", "reference"
    )
    assert done.returncode == 2
    assert 'model.engine: "grouped" -> "reference"' in done.stderr
    skipped, refused = done.stderr.splitlines()
    assert skipped.startswith("skipped, no data for: ") and "other settings" in refused


def test_a_finished_run_is_not_rerun(single: Path, demo: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(single, out)
    done = cli("run", "--model", demo / "checkpoint", "--card", "internvl2", "--data-root", demo, "--out", out)
    assert done.returncode == 0 and ", 0 to run (0 media groups)" in done.stderr
    assert responses(out) == responses(single)


def test_a_broken_image_scores_0_and_is_retried_once_fixed(demo: Path, cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(demo / "data", root / "data")
    first = read_lines(root / "data" / "textvqa" / "textvqa_val.jsonl")[0]["image"]
    image = root / first
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    out = tmp_path / "run"
    args = ["run", "--model", demo / "checkpoint", "--tasks", "textvqa_val", "--data-root", root, "--out", out]
    done = cli(*args)
    assert done.returncode == 3 and "media_error" in done.stderr
    summary = json.loads((out / "scores.json").read_text())["textvqa_val"]
    failed = summary["outcomes"]["media_error"]
    assert failed >= 1 and summary["n"] == sum(summary["outcomes"].values())
    lines = [line for line in read_lines(out / "textvqa_val" / "scores.jsonl") if line["outcome"] == "media_error"]
    assert len(lines) == failed and all(line["value"] == 0 and first in line["reason"] for line in lines)
    image.write_bytes(whole)
    done = cli(*args)
    assert done.returncode == 0, done.stderr
    assert f"{failed} to run" in done.stderr


def test_score_again_without_inference(single: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(single, out)
    before = json.loads((out / "scores.json").read_text())
    (out / "scores.json").unlink()
    done = cli("score", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == before == json.loads((out / "scores.json").read_text())


def test_replay_repeats_a_run(single: Path, demo: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "again"
    done = cli("run", "--model", f"replay:{single}", "--tasks", "refcoco_val", "--data-root", demo, "--out", out)
    assert done.returncode == 0, done.stderr
    assert responses(out)["refcoco_val"] == responses(single)["refcoco_val"]


def test_dry_run_counts_what_a_run_records(single: Path, demo: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "none"
    args = ["--card", "internvl2", "--data-root", demo, "--out", out, "--dry-run", "--json"]
    rows = {row["task"]: row for row in json.loads(cli("run", "--model", demo / "checkpoint", *args).stdout)}
    assert not out.exists()
    for name, row in rows.items():
        if name != "total":
            lines = read_lines(single / name / "predictions.jsonl")
            assert row["samples"] == len(lines)
            assert row["prompt_tokens"] == sum(line["prompt_tokens"] for line in lines)
    assert rows["total"]["samples"] == sum(row["samples"] for name, row in rows.items() if name != "total")


def test_limit(demo: Path, cli: Cli, tmp_path: Path) -> None:
    args = ["--tasks", "chartqa_test_human,docvqa_val", "--data-root", demo, "--out", tmp_path / "run", "--limit", "2"]
    done = cli("run", "--model", demo / "checkpoint", *args, "--json")
    assert done.returncode == 0, done.stderr
    assert [summary["n"] for summary in json.loads(done.stdout).values()] == [2, 2]


def test_audit_finds_no_difference_in_float32_and_a_planted_one(demo: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    args = ["--tasks", "textvqa_val", "--data-root", demo, "--out", out, "--audit", "100"]
    done = cli("run", "--model", demo / "checkpoint", *args)
    assert done.returncode == 0, done.stderr
    assert "0 of 16 answers differ" in (out / "card.md").read_text()
    shard = out / "textvqa_val" / "shards" / "rank0.jsonl"
    first, *others = shard.read_text(encoding="utf-8").splitlines()
    planted = json.loads(first) | {"response": "another answer"}
    shard.write_text("\n".join([json.dumps(planted), *others]) + "\n", encoding="utf-8")
    assert cli("run", "--model", demo / "checkpoint", *args).returncode == 0
    found = json.loads((out / "run.json").read_text())["audit"]["textvqa_val"]
    assert (found["n"], found["answers_differ"], found["ids"]) == (16, 1, [planted["id"]])
    assert "1 of 16 answers differ" in (out / "card.md").read_text()
    replayed = [tmp_path / "replayed" if item == out else item for item in args]
    noted = cli("run", "--model", f"replay:{out}", *replayed)
    assert noted.returncode == 0 and "--audit: nothing to audit" in noted.stderr


def test_provenance(single: Path) -> None:
    record = json.loads((single / "run.json").read_text())
    assert {"fingerprint", "settings", "versions", "launches", "data_root", "card"} <= record.keys()
    tasks, media = record["settings"]["tasks"], record["settings"]["media"]
    assert tasks.keys() == media.keys()
    assert media["refcoco_val"]["files"] > 0 and media["refcoco_val"]["absent"] == 0
    assert tasks["refcoco_val"]["recipe"]["look"]["max_tiles"] == 6
    assert "model.safetensors" in record["settings"]["model"]["checkpoint"]
    scores = json.loads((single / "scores.json").read_text())
    assert scores["refcoco_val"]["scorer_sha256"] != scores["mvbench"]["scorer_sha256"]


@pytest.mark.shared_data
def test_the_real_chartqa_images_on_two_ranks(tiny_checkpoint: Path, shared: Path, tmp_path: Path) -> None:
    """577 real questions on 349 real charts; the token limit is lowered, the pixels and prompts are the card's."""
    card = tmp_path / "short.yaml"
    text = (REPO / "configs" / "cards" / "internvl2.yaml").read_text(encoding="utf-8")
    card.write_text(text.replace("max_new_tokens: 100", "max_new_tokens: 2"), encoding="utf-8")
    root, out = shared / "data" / "root-with-images", tmp_path / "run"
    done = torchrun(2, "--model", tiny_checkpoint, "--card", card, "--data-root", root, "--out", out)
    assert done.returncode == 0, done.stderr
    for task, n in (("chartqa_test_human", 296), ("chartqa_test_augmented", 281)):
        assert [line["id"] for line in read_lines(out / task / "predictions.jsonl")] == [str(i) for i in range(n)]
        summary = json.loads((out / "scores.json").read_text())[task]
        assert summary["n"] == n and summary["expected_n"] == 1250
    assert "577" in (out / "card.md").read_text()


def test_rotations_of_a_question_share_one_media_group(demo: Path) -> None:
    from evalkit.data.root import DataRoot
    from evalkit.inference.plan import plan
    from evalkit.models.base import Source
    from evalkit.selection import build_jobs, select

    root = DataRoot(demo)
    jobs = build_jobs(select(None, ["mmbench_test_en"], (), root), root, None, 112)
    units = plan(jobs, {}, root, None, Source().cost).units
    questions = {sample.group for sample in jobs[0].samples}
    assert len(questions) == len(units) < len(jobs[0].samples)
    assert all(len({jobs[0].samples[index].group for _, index in unit}) == 1 for unit in units)
