"""Deliberate faults in the video rows of VLMEvalKit: each fails the comparison with the golden vectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evalkit.card import load_card
from evalkit.data.root import DataRoot
from evalkit.media import subtitles
from evalkit.media.load import load
from evalkit.metrics.metric import mean
from evalkit.plugins import load_tasks, module_of
from evalkit.records import Recipe, Sample, Score
from evalkit.task import Task
from tests.conftest import REPO
from tests.test_engine_golden import compare, normalised
from tests.test_vk_video import JUDGED, requests_of, wrong_requests, wrong_scores
from tests.vk_golden import GOLDEN

pytestmark = pytest.mark.shared_data

RATED = module_of(REPO / "tasks" / "mmbench_video.py")
CHOICE = module_of(REPO / "tasks" / "videomme.py")
Patch = pytest.MonkeyPatch
Read = Callable[[Sample, str, str], Score | None]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    subtitles._shown.cache_clear()
    yield
    subtitles._shown.cache_clear()


def judged_by(task: Task, **changes: Any) -> Task:
    assert task.judge is not None
    return replace(task, judge=replace(task.judge, **changes))


def rated_as(rating: Callable[[str], float]) -> Read:
    def read(sample: Sample, answer: str, reply: str) -> Score | None:
        try:
            return Score(max(0, rating(reply)) / 3, reply.strip())
        except ValueError:
            return None

    return read


def one_group(task: Task) -> Task:
    """Only the first dimension of a question counts."""

    def load_first(root: DataRoot) -> list[Sample]:
        return [replace(sample, more_subsets=sample.more_subsets[:1]) for sample in task.load(root)]

    return replace(task, load=load_first)


def per_dimension(task: Task) -> Task:
    """A question counts once for each of its dimensions."""

    def load_each(root: DataRoot) -> list[Sample]:
        samples = list(task.load(root))
        return samples + [replace(one, id=f"{one.id}+") for one in samples if len(one.more_subsets) > 2]

    return replace(task, load=load_each)


RATING_FAULTS: dict[str, Callable[[Task, Patch], Task]] = {
    "ratings above 3 are 3": lambda task, _: judged_by(task, read=rated_as(lambda reply: min(3, int(reply)))),
    "int() reads ratings": lambda task, _: judged_by(task, read=rated_as(int)),
    "float() reads ratings": lambda task, _: judged_by(task, read=rated_as(float)),
    "any number is a rating": lambda task, _: judged_by(
        task, read=rated_as(lambda reply: int((re.findall(r"\d", reply) or "x")[0]))
    ),
    "the fixed value counts": lambda task, _: judged_by(
        task, read=lambda *given: (found := RATED.read(*given)) and replace(found, value=found.fixed)
    ),
    "failed requests are not repeated": lambda task, _: judged_by(task, tries=1),
    "one request fewer": lambda task, _: judged_by(
        task, ask=lambda sample, answer: RATED.ask(sample, answer) if answer != "A kite." else None
    ),
    "useless replies leave the mean": lambda task, _: replace(
        task, metrics=(mean("gpt_score", maximum=3.0, included=lambda line: line.answer is not None),)
    ),
    "percent": lambda task, _: replace(task, metrics=(mean("gpt_score"),)),
    "groups swapped": lambda task, patch: patched(
        task, patch, "GROUPS", dict(zip(RATED.GROUPS, reversed(RATED.GROUPS.values()), strict=True))
    ),
    "dimensions swapped": lambda task, patch: patched(
        task, patch, "DIMENSIONS", dict(zip(RATED.DIMENSIONS, reversed(RATED.DIMENSIONS.values()), strict=True))
    ),
    "one dimension a question": lambda task, _: one_group(task),
    "once per dimension": lambda task, _: per_dimension(task),
}

REQUEST_FAULTS: dict[str, Callable[[Task, Patch], Task]] = {
    "no xlsx round trip": lambda task, patch: patched(task, patch, "read_back", lambda answer: answer),
    "missing answers are sent": lambda task, patch: patched(task, patch, "read_back", RATED.seen),
    "answers in one line": lambda task, _: judged_by(
        task, ask=lambda sample, answer: RATED.ask(sample, " ".join(answer.split()))
    ),
    "stripped system message": lambda task, _: judged_by(task, system=RATED.PROMPT.system.strip()),
    "no system message": lambda task, _: judged_by(task, system=""),
    "short replies": lambda task, _: judged_by(task, max_new_tokens=3),
    "a second attempt": lambda task, _: judged_by(task, temperatures=(0.0, 0.5)),
    "another judge": lambda task, _: judged_by(task, name="gpt-4-0613"),
}


def patched(task: Task, patch: Patch, name: str, value: Any) -> Task:
    patch.setattr(RATED, name, value)
    return task


@pytest.mark.parametrize("fault", RATING_FAULTS)
def test_faults_in_ratings_are_seen(fault: str, monkeypatch: Patch) -> None:
    tasks = [load_tasks()[name] for name in JUDGED]
    assert any(wrong_scores(RATING_FAULTS[fault](task, monkeypatch)) for task in tasks)


@pytest.mark.parametrize("fault", REQUEST_FAULTS)
def test_faults_in_what_the_judge_is_asked_are_seen(fault: str, monkeypatch: Patch) -> None:
    tasks = [load_tasks()[name] for name in JUDGED]
    assert any(wrong_requests(REQUEST_FAULTS[fault](task, monkeypatch)) for task in tasks)


def by_letter(letter: Callable[[str], str | None]) -> Callable[[Task], Task]:
    def changed(task: Task) -> Task:
        def score(sample: Sample, answer: str) -> Score:
            found = letter(answer)
            return Score(float(found == sample.references[0]), found)

        return replace(task, score=score)

    return changed


def letters(pattern: str, answer: str, place: int = 0) -> str | None:
    for prefix in CHOICE.PREFIXES:
        answer = answer.replace(prefix, "")
    found = re.findall(pattern, answer)
    return found[place].upper() if found else None


CHOICE_FAULTS: dict[str, Callable[[Task], Task]] = {
    "refusals are wrong": lambda task: replace(task, metrics=(mean("accuracy"),)),
    "no prefix is deleted": by_letter(lambda answer: next(iter(re.findall("[ABCD]", answer)), None)),
    "the glued prefixes are deleted too": by_letter(
        lambda answer: letters("[ABCD]", re.sub("Best answer:|Best option:", "", answer))
    ),
    "letters stand alone": by_letter(lambda answer: letters(r"\b[ABCD]\b", answer)),
    "the last letter": by_letter(lambda answer: letters("[ABCD]", answer, -1)),
    "small letters too": by_letter(lambda answer: letters("[ABCDabcd]", answer)),
    "the first character": by_letter(lambda answer: answer[0] if answer[:1] in "ABCD" else None),
    "durations lost": lambda task: replace(
        task, load=lambda root: [replace(one, subset="short") for one in task.load(root)]
    ),
}


@pytest.mark.parametrize("fault", CHOICE_FAULTS)
def test_faults_in_choices_are_seen(fault: str) -> None:
    tasks = [load_tasks()[name] for name in ("videomme_wo_subs", "videomme_w_subs")]
    assert any(wrong_scores(CHOICE_FAULTS[fault](task)) for task in tasks)


Entries = list[tuple[int, int, str]]

SUBTITLE_FAULTS: dict[str, Callable[[Entries], Entries]] = {
    "in order of time": sorted,
    "the last line wins": lambda entries: entries[::-1],
    "blank lines are skipped": lambda entries: [one for one in entries if one[2].strip()],
    "stripped": lambda entries: [(start, end, text.strip()) for start, end, text in entries],
    "no markup": lambda entries: [(start, end, re.sub(r"\{.*?\}", "", text)) for start, end, text in entries],
    "no entities": lambda entries: [(start, end, text.replace("&amp;", "&")) for start, end, text in entries],
    "line breaks stay": lambda entries: [
        (start, end, text.replace("up the", "up\nthe")) for start, end, text in entries
    ],
    "half a second late": lambda entries: [(start + 500, end + 500, text) for start, end, text in entries],
    "none": lambda entries: [],
}


@pytest.mark.parametrize("fault", SUBTITLE_FAULTS)
def test_faults_in_subtitles_are_seen(fault: str, monkeypatch: Patch) -> None:
    whole = subtitles._entries

    def changed(path: Path) -> Entries:
        return SUBTITLE_FAULTS[fault](whole(path))

    monkeypatch.setattr(subtitles, "_entries", changed)
    assert any(request.prompt != wanted["question"] for request, wanted in requests_of("videomme_w_subs"))


RECIPE_FAULTS: dict[str, Callable[[Recipe], Recipe]] = {
    "no JPEG pass": lambda recipe: replace(recipe, look=replace(recipe.look, jpeg=None)),
    "another quality": lambda recipe: replace(recipe, look=replace(recipe.look, jpeg=90)),
    "InternVL's frames": lambda recipe: replace(recipe, look=replace(recipe.look, frame_rule="segment_middle")),
}


@pytest.mark.parametrize("fault", RECIPE_FAULTS)
def test_faults_in_pixels_are_seen(fault: str) -> None:
    recipe = load_card("internvl2").recipe("mmbench_video_8f")
    assert recipe is not None
    request, wanted = requests_of("mmbench_video_8f", RECIPE_FAULTS[fault](recipe))[0]
    values = normalised([load(request.views[0], DataRoot(GOLDEN / "prompts_root"))[0]])
    assert values is not None
    with pytest.raises(AssertionError):
        compare(values, wanted["images"][0]["pixels"], 1e-6)
