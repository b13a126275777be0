"""The judge stage: what is asked, how replies are read and retried, what is kept, and when a judgement is discarded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.inference.judge import Judging
from evalkit.judging import Judge, settle
from evalkit.models.base import MediaGroup, Model
from evalkit.records import Generation, Request, Response, Sample, Score
from evalkit.runs.judged import judge_folder
from tests.conftest import REPO, Cli, write_jsonl

PLUGIN = REPO / "examples" / "judged_task.py"
TASK = "captions_test"

JUDGES = '''
import json
from pathlib import Path

from evalkit.models.base import Model, Source
from evalkit.records import Outcome, Response


class Clerk(Source, Model):
    """Rates by length; useless at temperature 0 if asked to be; keeps a log of what it was asked."""

    def __init__(self, rest, options):
        self.log, self.mood = rest.split("?")
        self.name = "clerk"

    def open(self, local):
        return self

    def answer(self, groups):
        for request in (request for group in groups for request in group.requests):
            assert not request.views
            temperature = request.generation.temperature
            with Path(self.log).open("a") as file:
                file.write(json.dumps([request.id, request.prompt, temperature]) + "\\n")
            if Path(self.log + ".broken").exists():
                raise ConnectionResetError("gone")
            said = "well..." if self.mood == "vague" or (self.mood == "slow" and temperature < 0.5) else "7"
            yield request, Response(request.id, said)


MODELS = {"clerk": Clerk}
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    from examples.draw import draw

    draw(tmp_path)
    (tmp_path / "judges.py").write_text(JUDGES)
    return tmp_path


@pytest.fixture
def run(root: Path, cli: Cli) -> Path:
    """A run with one answer that needs no judge and one that does."""
    answers: list[dict[str, object]] = [
        {"id": "0", "response": "a red square"},
        {"id": "1", "response": "a blue box"},
    ]
    return answered(root, cli, answers)


def answered(root: Path, cli: Cli, answers: list[dict[str, object]]) -> Path:
    out = root / "run"
    path = write_jsonl(root / "answers.jsonl", answers)
    done = cli(
        "run", "--model", f"replay:{path}", "--tasks", TASK, "--plugin", PLUGIN, "--data-root", root, "--out", out
    )
    assert done.returncode == 0 and "incomplete" not in done.stderr and "evalkit judge" in done.stderr, done.stderr
    done = cli("score", out)
    assert done.returncode == 3 and "1 unjudged" in done.stderr, "a score without its judge is incomplete"
    return out


def judge(cli: Cli, run: Path, mood: str, *more: str) -> tuple[int, str, list[Any]]:
    log = run.parent / "log.jsonl"
    done = cli("judge", run, "--judge", f"clerk:{log}?{mood}", "--plugin", run.parent / "judges.py", *more)
    asked = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return done.returncode, done.stderr, asked


def summary(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "scores.json").read_text())[TASK]
    return content


def test_only_what_needs_a_judge_is_asked_and_only_once(cli: Cli, run: Path) -> None:
    assert summary(run)["score"] == 50 and summary(run)["outcomes"]["unjudged"] == 1
    code, said, asked = judge(cli, run, "quick")
    assert code == 0, said
    assert [(key, temperature) for key, _, temperature in asked] == [("1", 0.0)]
    assert asked[0][1].startswith("Reference: a blue square\nCaption: a blue box\n")
    found = summary(run)
    assert found["score"] == pytest.approx(85) and found["outcomes"]["ok"] == 2
    assert found["judge"] == {"name": "clerk", "card": "gpt-4-0613", "asked": 1, "judged": 1, "unused_replies": 0}
    code, said, _ = judge(cli, run, "slow", "--judge-name", "clerk")
    assert code == 2 and "judgements made with other settings" in said
    assert judge(cli, run, "quick", "--tasks", "docvqa_val")[0] == 2
    record = json.loads((run / TASK / "judged" / "clerk" / "replies.jsonl").read_text())
    assert record == {"id": "1", "replies": ["7"], "model": "clerk", "response": "a blue box"}
    assert judge(cli, run, "quick")[2] == asked, "judged before: nothing is asked"


def test_a_useless_reply_is_asked_for_again_at_the_next_temperature(cli: Cli, run: Path) -> None:
    code, _, asked = judge(cli, run, "slow")
    assert code == 0 and [temperature for _, _, temperature in asked] == [0.0, 0.5]
    record = json.loads((run / TASK / "judged" / "clerk" / "replies.jsonl").read_text())
    assert record["replies"] == ["well...", "7"]


def test_a_judge_that_never_answers_usefully_leaves_the_sample_unjudged(cli: Cli, run: Path) -> None:
    code, said, asked = judge(cli, run, "vague")
    assert code == 3 and "1 unjudged" in said and len(asked) == 3
    line = json.loads((run / TASK / "scores.jsonl").read_text().splitlines()[1])
    assert (line["outcome"], line["value"], line["reason"]) == ("unjudged", 0.0, "no usable judge reply")
    assert len(judge(cli, run, "vague")[2]) == 3, "a whole exchange is not repeated"


def test_a_judge_that_fails_is_asked_again_at_the_next_start(cli: Cli, run: Path) -> None:
    broken = run.parent / "log.jsonl.broken"
    broken.touch()
    code, said, _ = judge(cli, run, "quick")
    assert code == 3 and "Traceback" not in said
    assert (run / TASK / "judged" / "clerk" / "replies.jsonl").read_text() == ""
    broken.unlink()
    code, _, asked = judge(cli, run, "quick")
    assert code == 0 and asked[-1][0] == "1"


def test_a_judgement_is_discarded_when_the_answer_changes(cli: Cli, run: Path) -> None:
    assert judge(cli, run, "quick")[0] == 0
    shard = run / TASK / "shards" / "rank0.jsonl"
    shard.write_text(shard.read_text().replace("a blue box", "a blue circle"))
    done = cli("score", run, "--json")
    assert done.returncode == 3 and json.loads(done.stdout)[TASK]["outcomes"]["unjudged"] == 1
    code, _, asked = judge(cli, run, "quick")
    assert code == 0 and len(asked) == 2 and "a blue circle" in asked[-1][1]


def test_the_cards_judge_counts_then_the_only_one_then_the_named_one(cli: Cli, run: Path) -> None:
    def score(*more: str) -> Any:
        return cli("score", run, "--json", *more)

    assert judge(cli, run, "quick", "--judge-name", "second")[0] == 0
    assert summary(run)["judge"]["name"] == "second"
    table = cli("table", run, "--card", "internvl2", "--format", "json")
    assert table.returncode == 0
    assert judge(cli, run, "vague", "--judge-name", "third")[0] == 3
    done = score()
    assert done.returncode == 2 and "judged by second, third; choose one with --judge-name" in done.stderr
    assert json.loads(score("--judge-name", "second").stdout)[TASK]["score"] == pytest.approx(85)
    assert score("--judge-name", "nobody").returncode == 2
    again = [
        "run", "--model", f"replay:{run.parent / 'answers.jsonl'}", "--tasks", TASK, "--plugin", PLUGIN,
        "--data-root", run.parent, "--out", run,
    ]  # fmt: skip
    assert cli(*again).returncode == 0 and summary(run)["judge"]["name"] == "second", "a rerun keeps the judge"
    assert judge(cli, run, "quick", "--judge-name", "gpt-4-0613")[0] == 0
    assert json.loads(score().stdout)[TASK]["judge"]["name"] == "gpt-4-0613"


@pytest.mark.parametrize(
    ("lines", "said", "score"),
    [
        ([{"id": "1", "replies": ["x", None, "9"], "model": "tutor"}], "", 95),
        ([{"id": "1", "replies": ["8", "9", "9"]}], "", 90),
        ([{"id": "1", "replies": ["x"]}], "more replies must follow the 1 recorded", 50),
        ([{"id": "1", "replies": []}], "more replies must follow the 0 recorded", 50),
        ([], "not judged", 50),
    ],
)
def test_anyones_record_scores(lines: list[dict[str, object]], said: str, score: float, cli: Cli, root: Path) -> None:
    answers = [{"id": "0", "response": "a red square"}, {"id": "1", "response": "a blue box"}]
    predictions = write_jsonl(root / "answers.jsonl", [dict(line) for line in answers])
    record, out = write_jsonl(root / "judged.jsonl", lines), root / "scored"
    args = ["score", "--task", TASK, "--predictions", predictions, "--judged", record, "--data-root", root]
    done = cli(*args, "--plugin", PLUGIN, "--out", out)
    assert done.returncode == (3 if said else 0), done.stderr
    assert summary(out)["score"] == pytest.approx(score)
    assert said in (out / TASK / "scores.jsonl").read_text()
    assert cli("score", out).returncode == done.returncode and summary(out)["score"] == pytest.approx(score)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"id": "7", "replies": ["1"]}, "id '7' is not in the task's data"),
        ({"id": "1", "replies": "1"}, "'replies' must be a list of strings"),
        ({"id": "1", "replies": ["1"], "response": "another"}, "is not the answer that is scored"),
        ({"id": "1", "response": "a blue box"}, "no key 'replies'"),
    ],
)
def test_bad_records_are_one_line(line: dict[str, object], message: str, cli: Cli, root: Path) -> None:
    predictions = write_jsonl(
        root / "answers.jsonl", [{"id": "0", "response": "x"}, {"id": "1", "response": "a blue box"}]
    )
    record = write_jsonl(root / "judged.jsonl", [line])
    args = ["score", "--task", TASK, "--predictions", predictions, "--judged", record, "--data-root", root]
    done = cli(*args, "--plugin", PLUGIN)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_replay_judges_from_a_record(cli: Cli, run: Path) -> None:
    record = write_jsonl(run.parent / "J.jsonl", [{"id": "1", "replies": ["x", "6"], "model": "tutor"}])
    done = cli("judge", run, "--judge", f"replay:{record}")
    assert done.returncode == 0, done.stderr
    assert summary(run)["judge"]["name"] == "tutor" and summary(run)["score"] == pytest.approx(80)
    write_jsonl(record, [{"id": "1", "replies": ["x", "6"], "model": "tutor"}, {"id": "0", "replies": ["9"]}])
    assert cli("judge", run, "--judge", f"replay:{record}", "--judge-name", "tutor").returncode == 0, "it may grow"
    other = write_jsonl(run.parent / "K.jsonl", [{"id": "1", "replies": ["6"], "response": "else"}])
    done = cli("judge", run, "--judge", f"replay:{other}", "--judge-name", "other")
    assert done.returncode == 2 and "is for another answer" in done.stderr


def test_a_run_without_judged_tasks(cli: Cli, gold_run: Path) -> None:
    done = cli("judge", gold_run, "--judge", "replay:nothing.jsonl")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


SAMPLE = Sample("0", "?", (), ("x",), "g")


def read(sample: Sample, answer: str, reply: str) -> Score | None:
    return Score(1.0, reply) if reply.isdecimal() else None


@pytest.mark.parametrize(
    ("replies", "score", "used", "attempt"),
    [
        ((), None, 0, 0),
        (("5",), 1.0, 1, None),
        ((None, "5"), 1.0, 2, None),
        ((None,), None, 1, 0),
        (("",), None, 1, 0),  # empty: tried again at the same temperature
        ((None, ""), None, 2, 1),  # tries at one temperature are used up
        (("x", "5"), 1.0, 2, None),
        (("x", None, None), None, 3, None),
        (("5", "6"), 1.0, 1, None),
    ],
)
def test_the_retry_rule(replies: tuple[str | None, ...], score: float | None, used: int, attempt: int | None) -> None:
    judge = Judge(name="j", ask=lambda *_: "?", read=read, max_new_tokens=3, temperatures=(0.0, 1.0), tries=2)
    settled = settle(judge, SAMPLE, "a", replies)
    assert (settled.score and settled.score.value, settled.used, settled.attempt) == (score, used, attempt)


@pytest.mark.parametrize(("replies", "score", "attempt"), [(("x",), None, 1), (("x", "5"), None, None)])
def test_a_final_attempt_that_is_not_read(replies: tuple[str, ...], score: float | None, attempt: int | None) -> None:
    judge = Judge(name="j", ask=lambda *_: "?", read=read, max_new_tokens=3, temperatures=(0.0, 1.0), unread=1)
    settled = settle(judge, SAMPLE, "a", replies)
    assert (settled.score and settled.score.value, settled.used, settled.attempt) == (score, len(replies), attempt)


def test_a_reply_that_says_the_request_failed_counts_as_failed() -> None:
    judge = Judge(name="j", ask=lambda *_: "?", read=read, max_new_tokens=3, tries=2, failure="no answer via")
    settled = settle(judge, SAMPLE, "a", ("no answer via API.", "5"))
    assert (settled.score and settled.score.value, settled.used) == (1.0, 2)
    assert settle(judge, SAMPLE, "a", ("no answer via API.",)).attempt == 0


def test_retries_append_to_the_first_prompt() -> None:
    judge = Judge(name="j", ask=lambda *_: "?", read=read, max_new_tokens=3, temperatures=(0.0, 0.0, 0.5), retry=" Hm:")
    model = Asked(["x", "y", "5"])
    judging = Judging(model, judge, "j", {"0": (SAMPLE, "a")})
    request = Request("t", 0, "0", "?", (), Generation(3, 0, 0.0))
    ((_, response),) = judging.answer([MediaGroup([request], [])])
    assert response.extra["replies"] == ["x", "y", "5"]
    assert model.asked == [("?", 0.0), ("? Hm:", 0.0), ("? Hm:", 0.5)]


class Asked(Model):
    """Replies from a list, and remembers what it was asked."""

    def __init__(self, replies: list[str]) -> None:
        self.replies = replies
        self.asked: list[tuple[str, float]] = []

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        for group in groups:
            for request in group.requests:
                self.asked.append((request.prompt, request.generation.temperature))
                yield request, Response(request.id, self.replies[len(self.asked) - 1])


def test_names_that_a_folder_cannot_hold_do_not_collide(tmp_path: Path) -> None:
    folders = {judge_folder(tmp_path, name) for name in ("a/b", "a_b", "a b", "..", ".a", "a")}
    assert len(folders) == 6 and all(folder.parent == tmp_path / "judged" for folder in folders)
