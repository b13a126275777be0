"""Each deliberate fault in the scorers of VLMEvalKit's image rows makes them differ from the golden vectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from evalkit.metrics import matching
from evalkit.metrics.matching import match_option
from evalkit.metrics.metric import all_right, mean, mean_of
from evalkit.metrics.read_back import seen
from evalkit.records import Sample, Score
from evalkit.task import Task
from tasks import hallusionbench, mathvista, mmvet_turbo, ocrbench, vlmevalkit_choice
from tests.vk_golden import TASKS, wrong_prompts, wrong_requests, wrong_scores

pytestmark = pytest.mark.shared_data

Options = Mapping[str, str]


class Fault(NamedTuple):
    """A fault: either a module's attribute is replaced, or the task."""

    name: str
    task: str
    module: Any = None
    attribute: str = ""
    wrong: Any = None
    change: Callable[[Task], Task] | None = None


def text_first(answer: str, options: Options) -> str | None:
    named = [letter for letter, text in options.items() if text.lower() in answer.lower()]
    return named[0] if len(named) == 1 else match_option(answer, options)


def first_of_several(answer: str, options: Options) -> str | None:
    return match_option(answer, options) or next(
        (letter for letter, text in options.items() if text.lower() in answer.lower()), None
    )


def case_of_texts(answer: str, options: Options) -> str | None:
    return match_option(answer, options) if any(text in answer for text in options.values()) else None


def no_article(answer: str, options: Options) -> str | None:
    return match_option(re.sub(r"\bA (?=[a-z])", "", answer), options)


def any_case(answer: str, options: Options) -> str | None:
    return match_option(answer.upper(), options)


def no_refusals(answer: str, options: Options) -> str | None:
    for phrase in matching._REFUSALS:
        answer = answer.replace(phrase, "")
    return match_option(answer, options)


def first_word(answer: str) -> str | None:
    found = re.search(r"\b(yes|no)\b", answer.lower())
    return found[1].capitalize() if found else None


def number_inside(sample: Sample, answer: str, reply: str) -> Score | None:
    found = re.search(r"[01]?\.\d+|[01]", reply)
    return Score(min(float(found[0]), 1.0), found[0]) if found else None


def no_range(sample: Sample, answer: str, reply: str) -> Score | None:
    try:
        return Score(min(max(float(reply), 0.0), 1.0), reply)
    except ValueError:
        return None


def by_value(sample: Sample, text: str) -> str | float | None:
    if sample.fields["kind"] == "choice":
        return match_option(text, sample.fields["options"])
    try:
        return float(text) if sample.fields["kind"] != "list" else None
    except ValueError:
        return None


def judging(**changes: Any) -> Callable[[Task], Task]:
    def change(task: Task) -> Task:
        assert task.judge is not None
        return replace(task, judge=replace(task.judge, **changes))

    return change


def metrics(*changed: Any) -> Callable[[Task], Task]:
    return lambda task: replace(task, metric=changed[0].name, metrics=changed)


def prompt_of(prompt: Any, change: Callable[[dict[str, str]], dict[str, str]]) -> Any:
    class Changed:
        def fill(self, **fields: str) -> str:
            text: str = prompt.fill(**change(fields))
            return text

    return Changed()


def plain(name: str) -> Any:
    return mean(name, included=lambda line: name in line.keys["capabilities"].split(","))


CHOICE, MMMU, HALLUSION, VISTA = "realworldqa", "mmmu_val_vlmevalkit", "hallusionbench", "mathvista_testmini"
SWAPPED = {"Scene Text-centric VQA": "Doc-oriented VQA", "Doc-oriented VQA": "Scene Text-centric VQA"}
PARTS = (mean("aAcc"), all_right("fAcc", "question"), all_right("qAcc", "figure"))
FAULTS = [
    # Multiple choice
    *(
        Fault(f"{task}: no xlsx file", task, module, "seen", lambda text: text)
        for task, module in (
            (CHOICE, vlmevalkit_choice), ("ocrbench", ocrbench), (HALLUSION, hallusionbench),
            (VISTA, mathvista), ("mmvet_turbo", mmvet_turbo),
        )
    ),
    *(
        Fault(fault.__name__, CHOICE, vlmevalkit_choice, "match_option", fault)
        for fault in (text_first, first_of_several, case_of_texts, no_article, any_case, no_refusals)
    ),
    Fault("open questions are no choices", MMMU, change=lambda task: loading(task, not_recast)),
    Fault("a gold letter is no open answer", MMMU, change=lambda task: loading(task, own_letter)),
    Fault("lost options count", CHOICE, change=lambda task: loading(task, not_recast)),
    # Prompts
    Fault("letters of missing options are used again", "mmstar", change=lambda task: loading(task, lettered_again)),
    Fault("one suffix for all", "mmbench_test_cn_v11", change=lambda task: loading(task, one_form)),
    Fault("questions are stripped", "mmvet_turbo", change=lambda task: loading(task, stripped)),
    Fault("hints are left out", "mmbench_test_en_v11", change=lambda task: loading(task, without_hint)),
    Fault("each rotation counts alone", "mmbench_test_en_v11", change=lambda task: replace(task, unit=None)),
    Fault("abilities by their long names", "mmbench_test_cn_v11", vlmevalkit_choice, "ABBREVIATIONS", {}),
    # Judges of multiple choice and yes/no
    Fault("four useless replies", CHOICE, change=judging(temperatures=(0.0,) * 4)),
    Fault("failed requests are not repeated", CHOICE, change=judging(tries=1)),
    Fault("useless replies are repeated at one temperature", HALLUSION, change=judging(temperatures=(0.0,) * 5)),
    Fault("English prompts alone", "mmbench_test_cn_v11", vlmevalkit_choice, "has_cjk", lambda text: False),
    Fault(
        "options in lower case", CHOICE, vlmevalkit_choice, "PROMPT",
        prompt_of(vlmevalkit_choice.PROMPT, lambda fields: fields | {"options": fields["options"].lower()}),
    ),
    Fault("useless replies are final", MMMU, vlmevalkit_choice, "read", lambda sample, answer, reply: Score(0.0, "Z")),
    # Yes and no
    Fault("first yes or no", HALLUSION, hallusionbench, "match_yes_no", first_word),
    Fault("punctuation stays", HALLUSION, matching, "_PUNCTUATION", ""),
    Fault("digits with a comma do not matter", HALLUSION, matching, "_GROUPED_DIGITS", re.compile("(?!)")),
    Fault("periods stay", HALLUSION, matching, "_PERIOD", re.compile("(?!)")),
    Fault("figures for questions", HALLUSION, change=metrics(mean_of("avg", PARTS), *PARTS)),
    Fault("mean of two", HALLUSION, change=metrics(mean_of("avg", PARTS[:2]), *hallusionbench.PARTS)),
    # OCRBench
    Fault("swapped groups", "ocrbench", ocrbench, "GROUPS", ocrbench.GROUPS | SWAPPED),
    Fault("formulas as texts", "ocrbench", ocrbench, "comparable", lambda text, formula: text.strip().lower()),
    Fault("equal, not contained", "ocrbench", change=lambda task: replace(task, score=equal)),
    Fault("percent", "ocrbench", change=metrics(mean("count_correct"))),
    # MathVista
    Fault("numbers by value", VISTA, mathvista, "meaning", by_value),
    Fault("any number needs no judge", VISTA, mathvista, "gold_of", lambda sample: mathvista.meaning(sample, "7")),
    Fault("useless replies are asked again", VISTA, mathvista, "judged", lambda *_: Score(0.0, None)),
    Fault("choices are not shown as letters", VISTA, mathvista, "ascii_uppercase", "QRSTUVWXY"),
    Fault("the reply skips the xlsx file", VISTA, mathvista, "read_back", lambda text: text),
    # MM-Vet
    Fault("a number with words", "mmvet_turbo", change=judging(read=number_inside)),
    Fault("no range", "mmvet_turbo", change=judging(read=no_range)),
    Fault("hotter from the start", "mmvet_turbo", change=judging(temperatures=(0.5, 1.0, 1.5, 2.0, 2.5))),
    Fault(
        "no blanks around AND", "mmvet_turbo", mmvet_turbo, "PROMPT",
        prompt_of(mmvet_turbo.PROMPT, lambda fields: fields | {"answer": fields["answer"].replace(" <", "<")}),
    ),
    Fault(
        "single capabilities count once", "mmvet_turbo",
        change=metrics(mean("grade"), *map(plain, mmvet_turbo.CAPABILITIES)),
    ),
]  # fmt: skip


def equal(sample: Sample, answer: str) -> Score:
    return Score(float(seen(answer).strip().lower() in [gold.strip().lower() for gold in sample.references]), answer)


def loading(task: Task, change: Callable[[Sample], Sample]) -> Task:
    return replace(task, load=lambda root: map(change, task.load(root)))


def not_recast(sample: Sample) -> Sample:
    """The options of the file, with those that pandas loses."""
    return replace(sample, fields={**sample.fields, "options": sample.fields["intended"] or {"A": ""}})


def own_letter(sample: Sample) -> Sample:
    return replace(sample, fields={**sample.fields, "letter": sample.references[0]})


def lettered_again(sample: Sample) -> Sample:
    lines = sample.question.split("\n")
    options = sample.fields["options"].values()
    asked = lines[: len(lines) - len(options)]
    shown = [f"{letter}. {text}" for letter, text in zip("ABCDEFGHI", options, strict=False)]
    return replace(sample, question="\n".join([*asked, *shown]))


def one_form(sample: Sample) -> Sample:
    return replace(sample, form="choice")


def stripped(sample: Sample) -> Sample:
    return replace(sample, question=sample.question.strip())


def without_hint(sample: Sample) -> Sample:
    start = sample.question.find(sample.fields["question"])
    return replace(sample, question=sample.question[start:])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_seen(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS[fault.task]
    if fault.module:
        monkeypatch.setattr(fault.module, fault.attribute, fault.wrong)
    if fault.attribute == "read":
        task = judging(read=fault.wrong)(task)
    if fault.change:
        task = fault.change(task)
    assert wrong_scores(task) or wrong_requests(task) or wrong_prompts(task)
