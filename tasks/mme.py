"""MME: yes/no questions in 14 tasks, two a picture; accuracy and paired accuracy, in points.

Official data: ``data/mme/Your_Results/<task>.txt`` (picture, question, answer), pictures in
``data/mme/MME_Benchmark_release_version`` (protocol sheet 6.6). The official script reads yes or no in the first four
characters ("know" is no), and leaves an answer that holds a tab out of the accuracy. A carriage return would split its
line of the result file and shift the pairs; such an answer is wrong here. ``fixed`` reads whole words and leaves
nothing out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from evalkit.data.readers import open_text, unique
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.metrics.metric import Metric, all_right, mean, per, sum_of, within
from evalkit.records import Media, Sample, Score
from evalkit.task import Task

PERCEPTION = ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
NAMES = (*PERCEPTION, *COGNITION)
IMAGES = "data/mme/MME_Benchmark_release_version"
DROPPED = "dropped: contains a tab"
LABELS = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
# In this order: "不是" holds "是".
CHINESE_LABELS = (("不是", "no"), ("是", "yes"), ("否", "no"))
CHINESE = re.compile("[\u4e00-\u9fa5]")


def file_of(task: str) -> str:
    """Return the official path of a task's questions."""
    return f"data/mme/Your_Results/{task}.txt"


def load(root: DataRoot) -> list[Sample]:
    """Read the 14 tasks in the official order."""
    return unique((one for task in NAMES for one in samples_of(root, task)), "data/mme/Your_Results")


def samples_of(root: DataRoot, task: str) -> Iterator[Sample]:
    """Yield one task's questions.

    Raises:
        UsageError: a malformed line, or a picture without two adjacent ones.
    """
    path = root.resolve(file_of(task))
    rows = [line.strip().split("\t") for line in open_text(path, file_of(task)).rstrip().split("\n")]
    pictures = [row[0] for row in rows]
    questions = Counter(pictures)
    nested = root.resolve(f"{IMAGES}/{task}/images").is_dir()
    for place, row in enumerate(rows):
        where = f"{path}:{place + 1}"
        if len(row) != 3 or row[2].lower() not in ("yes", "no"):
            raise UsageError(f"{where}: must be a picture, a question and Yes or No, with tabs between them")
        first = place - place % 2  # of the pair that the official script makes
        if questions[row[0]] != 2 or pictures[first : first + 2] != [row[0]] * 2:
            raise UsageError(f"{where}: a picture must have two questions, one after the other; {row[0]} has not")
        image = f"{IMAGES}/{task}/{row[0]}"
        if nested and not root.resolve(image).is_file():
            image = f"{IMAGES}/{task}/images/{row[0]}"  # as MME was released
        keys = {"task": task, "image": f"{task}/{row[0]}"}
        yield Sample(f"{task}/{place}", row[1], (Media(image),), (row[2].lower(),), image, task, keys=keys)


def score(sample: Sample, answer: str) -> Score:
    """Score by the label in an answer."""
    gold, text = sample.references[0], stored(answer)
    fixed = float(careful_label(answer) == gold)
    if "\r" in text:
        return Score(0.0, None, fixed, "a carriage return, which shifts the lines of the official result file")
    if "\t" in text:
        return Score(0.0, DROPPED, fixed, "a tab: the official accuracy leaves the answer out")
    label = label_of(text)
    return Score(float(label == gold), label, fixed)


def stored(answer: str) -> str:
    """Return an answer as the official script stores it: in one line, lower case, its Chinese replaced or removed."""
    text = answer.replace("\n", "")
    for word, label in CHINESE_LABELS:
        text = text.replace(word, label)
    text = text.lower().replace("true", "yes").replace("false", "no")
    # A carriage return at the end becomes part of the line break that follows.
    return CHINESE.sub("", text).removesuffix("\r")


def label_of(text: str) -> str | None:
    """Return the label in the first four characters of a stored answer, blanks included; None if there is none."""
    return next((label for label in ("yes", "no") if label in text[:4]), None)


def careful_label(answer: str) -> str | None:
    """Return the one label that an answer has as a word, in English or Chinese; None if it has none or both."""
    text = answer.lower()
    for word, label in CHINESE_LABELS:
        text = text.replace(word, f" {label} ")
    labels = {LABELS[word] for word in re.findall("[a-z]+", text) if word in LABELS}
    return labels.pop() if len(labels) == 1 else None


def points(name: str, maximum: float) -> Metric:
    """Return the sum over the tasks of 100 times accuracy and paired accuracy."""
    accuracy = mean("acc", included=lambda line: line.answer != DROPPED, fixed=mean("acc"))
    return per(name, "task", sum_of("acc + acc_plus", (accuracy, all_right("acc_plus", "image"))), maximum=maximum)


METRICS = (
    points("points", 2800),
    within(points("perception", 2000), lambda line: line.keys["task"] in PERCEPTION),
    within(points("cognition", 800), lambda line: line.keys["task"] in COGNITION),
)

TASKS = (
    Task(
        name="mme", metrics=METRICS, expected_n=2374, files=tuple(map(file_of, NAMES)), load=load, score=score,
        defects=("four characters read", "answers with a tab left out"),
        get="MME_Benchmark_release_version from MME's authors; Your_Results of eval/mme in the InternVL repository",
    ),
)  # fmt: skip
