"""Models of third parties: found by scheme, checked options, and failures that cost only what failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.errors import ModelUnavailable, UsageError
from evalkit.inference.worker import robust_answers
from evalkit.models import find_model
from evalkit.models.base import MediaGroup, Model
from evalkit.records import Generation, Outcome, Request, Response
from tests.conftest import REPO, Cli, write_jsonl

CONSTANT = REPO / "examples" / "constant_model.py"

MOODY = """
import sys
from dataclasses import dataclass
from typing import Literal

from evalkit.errors import ModelUnavailable, UsageError
from evalkit.models.base import Model, Source
from evalkit.records import Response

ERRORS = {item.__name__: item for item in (
    ConnectionResetError, TimeoutError, ValueError, MemoryError, KeyError, StopIteration, ModelUnavailable, UsageError,
)}


@dataclass(frozen=True)
class Options:
    error: str = "ValueError"
    wants: Literal["nothing", "tiles", "images", "bytes"] = "nothing"
    every: int = 5
    picky: bool = False


class Moody(Source, Model):
    options = Options

    def __init__(self, rest, options):
        self.chosen, self.wants = options, options.wants

    def refuses(self, recipe):
        beyond = recipe.look.beyond({"max_tiles"})
        return f"cannot show {', '.join(beyond)}" if self.wants == "bytes" and beyond and self.chosen.picky else None

    def open(self, local):
        return self

    def answer(self, groups):
        for group in groups:
            for request in group.requests:
                if request.index % self.chosen.every == 0:
                    if self.chosen.error == "silence":
                        continue
                    raise ERRORS[self.chosen.error]("as told")
                first = group.media[0] if group.media else None
                size = first[:4].hex() if isinstance(first, bytes) else getattr(first, "shape", None)
                yield request, Response(request.id, str(size))


MODELS = {"moody": Moody}
"""


@pytest.fixture
def moody(tmp_path: Path) -> Path:
    path = tmp_path / "moody.py"
    path.write_text(MOODY)
    return path


def run(
    cli: Cli, plugin: Path, model: str, demo: Path, out: Path, *more: str, tasks: str = "textvqa_val"
) -> tuple[int, str]:
    arguments = ["--plugin", plugin, "--model", model, "--tasks", tasks, "--data-root", demo, "--out", out]
    done = cli("run", *arguments, *more)
    return done.returncode, done.stderr


def test_a_constant_model_in_20_lines_runs_is_shown_planned_and_gated(cli: Cli, demo: Path, tmp_path: Path) -> None:
    code = [line for line in CONSTANT.read_text().split('"""')[2].splitlines() if line.strip()]
    assert len(code) <= 20
    out = tmp_path / "run"
    exit_code, said = run(cli, CONSTANT, "constant:yes", demo, out, "--audit", "2")
    assert exit_code == 0, said
    assert "nothing to audit" in said
    lines = [json.loads(line) for line in (out / "textvqa_val" / "predictions.jsonl").read_text().splitlines()]
    assert {line["response"] for line in lines} == {"yes"} and len(lines) == 16
    assert json.loads((out / "run.json").read_text())["model"]["name"] == "constant:yes"

    planned = cli(
        "run", "--dry-run", "--json", "--plugin", CONSTANT, "--model", "constant:yes", "--tasks", "textvqa_val",
        "--data-root", demo, "--out", out,
    )  # fmt: skip
    row = json.loads(planned.stdout)[0]
    assert row["samples"] == 16 and row["prompt_tokens"] is None and row["estimated_seconds"] is None
    shown = cli("show", "textvqa_val", "--plugin", CONSTANT, "--model", "constant:yes", "--data-root", demo, "--json")
    assert "model_prompt" not in json.loads(shown.stdout)[0]
    assert cli("check", out, "--baseline", out).returncode == 0


@pytest.mark.parametrize("error", ["ConnectionResetError", "TimeoutError", "ValueError", "MemoryError", "silence"])
def test_what_a_model_fails_on_costs_only_that_sample(
    error: str, cli: Cli, moody: Path, demo: Path, tmp_path: Path
) -> None:
    code, said = run(cli, moody, "moody:", demo, tmp_path / "run", "-M", f"error={error}")
    assert code == 3 and "4 model_error" in said and "Traceback" not in said, said
    lines = [json.loads(line) for line in (tmp_path / "run/textvqa_val/predictions.jsonl").read_text().splitlines()]
    failed = [place for place, line in enumerate(lines) if line["outcome"] == "model_error"]
    assert failed == [0, 5, 10, 15]
    reason = "the model stopped without an answer" if error == "silence" else "as told"
    assert {lines[place]["reason"] for place in failed} == {reason}


@pytest.mark.parametrize(("error", "code"), [("ModelUnavailable", 3), ("UsageError", 2)])
def test_two_exceptions_end_the_rank_and_nothing_is_written_for_the_sample(
    error: str, code: int, cli: Cli, moody: Path, demo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    found, said = run(cli, moody, "moody:", demo, out, "-M", f"error={error}")
    assert found == code and said.splitlines()[-1] == "evalkit: as told", said
    shards = "".join(path.read_text() for path in out.glob("*/shards/*"))
    assert "model_error" not in shards
    assert not (out / "scores.json").exists()


def test_a_model_gets_what_its_source_wants(cli: Cli, moody: Path, demo: Path, tmp_path: Path) -> None:
    for wants, seen in (("bytes", "ffd8ffe0"), ("images", "(300, 400, 3)"), ("nothing", "None")):
        out = tmp_path / wants
        code, said = run(cli, moody, "moody:", demo, out, "-M", f"wants={wants}", "-M", "every=99", "--limit", "3")
        assert code in (0, 3), said
        lines = [json.loads(line) for line in (out / "textvqa_val" / "predictions.jsonl").read_text().splitlines()]
        kinds = {line["response"] for line in lines if line["outcome"] == "ok"}
        assert len(kinds) >= 1 and all(kind.count(",") == seen.count(",") for kind in kinds), kinds
    for wants in ("images", "bytes"):
        out = tmp_path / f"video-{wants}"
        code, said = run(
            cli, moody, "moody:", demo, out, "-M", f"wants={wants}", "-M", "every=99", "--limit", "3", tasks="mvbench"
        )
        assert "media_error" not in said, said


def test_a_source_refuses_a_recipe_before_anything_runs(cli: Cli, moody: Path, demo: Path, tmp_path: Path) -> None:
    options = ["-M", "wants=bytes", "-M", "picky=yes"]
    for more in ([], ["--dry-run"]):
        code, said = run(cli, moody, "moody:", demo, tmp_path / "run", *options, *more, tasks="mvbench")
        assert code == 2 and "task mvbench: the model does not support its recipe: cannot show frames" in said, said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("nothing:x", {}, "unknown scheme 'nothing'; known: checkpoint, replay"),
        ("moody:", {"eror": "x"}, "unknown option 'eror' for moody; did you mean 'error'?"),
        ("moody:", {"every": "often"}, "option 'every'.*valid integer"),
        ("moody:", {"wants": "smells"}, "option 'wants'"),
    ],
)
def test_options_are_checked(model: str, options: dict[str, str], message: str, moody: Path) -> None:
    plugins = [str(moody)] if model.startswith("moody") else []
    with pytest.raises(UsageError, match=message):
        find_model(model, options, plugins)


def test_a_replay_has_no_dtype(cli: Cli, demo: Path, tmp_path: Path) -> None:
    answers = write_jsonl(tmp_path / "answers.jsonl", [{"id": "0", "response": "x"}])
    done = cli(
        "run", "--model", f"replay:{answers}", "--dtype", "float32", "--tasks", "textvqa_val", "--data-root", demo,
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 2 and "unknown option 'dtype' for replay (its options: none)" in done.stderr


class Scripted(Model):
    """Does what a script says with each group that it takes, or before it takes one."""

    def __init__(self, script: Callable[[Iterable[MediaGroup]], Iterator[tuple[Request, Response]]]) -> None:
        self.script = script

    def answer(self, groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        return self.script(groups)


def ask(script: Callable[[Iterable[MediaGroup]], Iterator[tuple[Request, Response]]], count: int = 4) -> list[Response]:
    requests = [Request("t", i, str(i), "?", (), Generation(4)) for i in range(count)]
    return [response for _, response in robust_answers(Scripted(script), [MediaGroup(requests, [])])]


def test_a_model_that_fails_before_it_takes_anything_is_unavailable() -> None:
    def connecting(groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        if groups:
            raise ConnectionResetError("no server")
        yield from ()

    def idle(groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        yield from ()

    for script, reason in ((connecting, "no server"), (idle, "stopped without an answer")):
        with pytest.raises(ModelUnavailable, match=reason):
            ask(script)


def test_what_no_file_can_hold_is_that_samples_failure() -> None:
    answers: list[Any] = ["\ud83d", None, "fine", "extra"]

    def odd(groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        for request in (request for group in groups for request in group.requests):
            extra = {"set": {1}} if request.index == 3 else {}
            yield request, Response(request.id, answers[request.index], extra=extra)

    found = ask(odd)
    assert [item.outcome for item in found] == [Outcome.MODEL_ERROR] * 2 + [Outcome.OK, Outcome.MODEL_ERROR]
    assert "type NoneType" in found[1].reason and "cannot be stored" in found[0].reason + found[3].reason


def test_a_response_to_another_sample_is_refused() -> None:
    def crossed(groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        for request in (request for group in groups for request in group.requests):
            yield request, Response("9", "text")

    with pytest.raises(UsageError, match="answered '0' of t with a response to '9'"):
        ask(crossed)


def test_a_model_that_stops_in_the_middle_is_asked_for_the_rest() -> None:
    calls: list[int] = []

    def half(groups: Iterable[MediaGroup]) -> Iterator[tuple[Request, Response]]:
        (group,) = groups
        calls.append(len(group.requests))
        for request in group.requests[: max(1, len(group.requests) // 2)]:
            yield request, Response(request.id, "text")

    assert sorted(item.id for item in ask(half)) == ["0", "1", "2", "3"] and calls[0] == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("MODELS = ('x',)", "MODELS maps schemes to sources"),
        ("MODELS = {'replay': print}", "model scheme 'replay' is already defined"),
        (
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "from evalkit.models.base import Source\n"
            "@dataclass\nclass Options:\n    a: Nowhere = 1\n"
            "class S(Source):\n    options = Options\nMODELS = {'s': S}",
            "its options cannot be checked",
        ),
    ],
)
def test_a_wrong_models_mapping_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(text)
    with pytest.raises(UsageError, match=message):
        find_model("s:x", {}, [str(plugin)])


def test_another_name_of_a_source_without_fingerprint_is_another_model(
    cli: Cli, moody: Path, demo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert run(cli, moody, "moody:a", demo, out, "-M", "every=99", "--limit", "2")[0] in (0, 3)
    code, said = run(cli, moody, "moody:b", demo, out, "-M", "every=99", "--limit", "2")
    assert code == 2 and "moody:a" in said and "moody:b" in said
