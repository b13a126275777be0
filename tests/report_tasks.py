"""Made-up tasks with every kind of sample that a report shows, a plugin.

Yes/no pairs on a picture, yes/no sets, several pictures a question, subtitles, judged answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from evalkit.cli.main import main
from evalkit.data.readers import read_jsonl
from evalkit.data.root import DataRoot
from evalkit.judging import Judge
from evalkit.metrics.metric import all_right, mean, mean_of, per, sum_of, within
from evalkit.records import FirstLook, Layout, Look, Media, Recipe, Sample, SampleScore, Score, Several
from evalkit.task import Task
from tests.conftest import HOSTILE_ANSWERS, write_jsonl

FOLDER = "data/rows"
PARTS = {"existence": "perception", "OCR": "perception", "code_reasoning": "cognition"}
PICTURES = 7
HOSTILE_NAME = "<img src=x onerror='window.ran = 5'>"
SUBTITLES = {1: "<i>Good evening,</i>", 3: "and welcome back."}


def draw(root: Path) -> None:
    """Write the questions and pictures of all tasks under a data root."""
    for number in range(PICTURES):
        picture(root / FOLDER / f"{number}.png", (200 + 90 * (number % 4), 150 + 60 * (number % 3)), str(number + 1))
    for number in range(1, 5):
        picture(root / FOLDER / "clip" / f"{number:05d}.jpg", (160, 120), f"{number}")
    pairs = [
        {"id": f"{part}/{n}.png/{k}", "part": part, "image": f"{n}", "text": text, "gold": gold}
        for part in PARTS
        for n in range(4)
        for k, (text, gold) in enumerate([(f"Is a {n + 1} in the picture?", "yes"), ("Is a dog in the picture?", "no")])
    ]
    sets = [
        {
            "id": f"VD_chart_{s}_{f}_{q}",
            "set": f"{s}",
            "figure": f"{f}",
            "question": f"{q}",
            "gold": ("yes", "no")[(f + q) % 2],
        }
        for s in range(2)
        for f in range(3)
        for q, gold in enumerate(("yes", "no") if f % 2 == 0 else ("no", "yes"))
    ]
    several = [{"id": f"validation_{n}", "count": f"{n}", "gold": "AB"[n % 2]} for n in range(1, PICTURES + 1)]
    rated = [{"id": f"v1_{n}", "skills": ["rec", "ocr"][: 1 + n % 2], "gold": f"word {n}"} for n in range(8)]
    clips = [{"id": "clip-0", "gold": "A"}, {"id": "clip-1", "gold": "B"}]
    for name, lines in (("pairs", pairs), ("sets", sets), ("several", several), ("rated", rated), ("clips", clips)):
        write_jsonl(root / FOLDER / f"{name}.jsonl", [dict(line) for line in lines])


def picture(path: Path, size: tuple[int, int], text: str) -> None:
    """Draw a number on a coloured ground."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (70 + 20 * int(text), 110, 220 - 25 * int(text)))
    ImageDraw.Draw(image).text((size[0] // 2 - 10, size[1] // 2 - 20), text, fill="white", font_size=40)
    image.save(path)


def pairs(root: DataRoot) -> Iterator[Sample]:
    for line in read_jsonl(root.resolve(f"{FOLDER}/pairs.jsonl"), "pairs"):
        part, number = line.text("part"), line.text("image")
        yield Sample(
            line.text("id"), line.text("text"), (Media(f"{FOLDER}/{number}.png"),), (line.text("gold"),),
            group=f"{part}/{number}", subset=part, more_subsets=(PARTS[part],),
            keys={"image": f"{part}/{number}.png", "task": part},
        )  # fmt: skip


def sets(root: DataRoot) -> Iterator[Sample]:
    for line in read_jsonl(root.resolve(f"{FOLDER}/sets.jsonl"), "sets"):
        number, figure, question = line.text("set"), line.text("figure"), line.text("question")
        media = () if figure == "0" else (Media(f"{FOLDER}/{figure}.png"),)
        yield Sample(
            line.text("id"), f"Is statement {question} true?", media, (line.text("gold"),),
            group=number, subset="VD" if figure == "0" else "VS", more_subsets=(f"{HOSTILE_NAME} {number}",),
            keys={"figure": f"{number}_{figure}", "question": f"{number}_{question}"},
        )  # fmt: skip


def several(root: DataRoot) -> Iterator[Sample]:
    for line in read_jsonl(root.resolve(f"{FOLDER}/several.jsonl"), "several"):
        count = int(line.text("count"))
        media = tuple(Media(f"{FOLDER}/{n}.png") for n in range(count))
        question = "".join(f"<image {n + 1}> " for n in range(count)) + "Which is it?\nA. the first\nB. the last"
        yield Sample(
            line.text("id"), question, media, (line.text("gold"),), group=line.text("id"),
            subset=("Art", "Music")[count % 2],
        )  # fmt: skip


def rated(root: DataRoot) -> Iterator[Sample]:
    for line in read_jsonl(root.resolve(f"{FOLDER}/rated.jsonl"), "rated"):
        first, *more = line.texts("skills")
        yield Sample(
            line.text("id"), "What is written?", (Media(f"{FOLDER}/0.png"),), (line.text("gold"),),
            group=line.text("id"), subset=first, more_subsets=tuple(more),
        )  # fmt: skip


def clips(root: DataRoot) -> Iterator[Sample]:
    for line in read_jsonl(root.resolve(f"{FOLDER}/clips.jsonl"), "clips"):
        media = (Media(f"{FOLDER}/clip", "frames"),)
        question = "Who speaks?\nA. a man\nB. a cat"
        yield Sample(line.text("id"), question, media, (line.text("gold"),), group="clip", subset="short")


LISTED = "This video's subtitles are listed below:"


def subtitles(sample: Sample, cut: Sequence[Layout | None]) -> str:
    return "\n".join(SUBTITLES[frame] for layout in cut if layout for frame in layout.frames if frame in SUBTITLES)


def yes_no(sample: Sample, answer: str) -> Score:
    said = answer.strip().lower()
    known = said if said[:2] in ("ye", "no") else None
    return Score(float(said == sample.references[0]), known)


def letter(sample: Sample, answer: str) -> Score:
    said = next((one for one in answer if one in "AB"), None)
    return Score(float(said == sample.references[0]), said)


def exact(sample: Sample, answer: str) -> Score:
    return Score(float(answer == sample.references[0]), answer or None)


def rating(sample: Sample, answer: str, reply: str) -> Score | None:
    return Score(int(reply) / 10, reply) if reply.isdecimal() and int(reply) <= 10 else None


def ask(sample: Sample, answer: str) -> str | None:
    gold = sample.references[0]
    return None if answer == gold else f"Question | Truth | Answer\n? | {gold} | {answer} | "


def untabbed(line: SampleScore) -> bool:
    return "\t" not in (line.answer or "")


def lettered(line: SampleScore) -> bool:
    return line.answer is not None


def file(name: str) -> tuple[str, ...]:
    return (f"{FOLDER}/{name}.jsonl",)


POINTS = per(
    "points", "task", sum_of("points", (mean("acc", included=untabbed), all_right("acc_plus", "image"))), maximum=600
)
AVERAGES = (mean("aAcc"), all_right("fAcc", "figure"), all_right("qAcc", "question"))
PLAIN = Recipe(prompt="{media}{question}", max_new_tokens=20)
MERGED = Look(max_tiles=1, merge=True, first=FirstLook(max_tiles=6, enlarge=2))
MARKED = Several(
    prompt="{media}\n{question}{labels}", media_prompt="<image-{i}>: <image>", media_separator=" ", label="<image-{i}>"
)

TASKS = (
    Task(
        name="rows_pairs", expected_n=24, files=file("pairs"), load=pairs, score=yes_no, recipe=PLAIN,
        metrics=(
            POINTS, within(POINTS, lambda line: line.keys["task"] != "code_reasoning", "perception"), mean("accuracy"),
        ),
    ),
    Task(
        name="rows_sets", expected_n=None, files=file("sets"), load=sets, score=yes_no, recipe=PLAIN,
        metrics=(mean_of("avg", AVERAGES), *AVERAGES),
    ),
    Task(
        name="rows_merged", metric="accuracy", expected_n=7, files=file("several"), load=several, score=letter,
        recipe=Recipe(prompt="{media}{question}", max_new_tokens=20, look=MERGED),
    ),
    Task(
        name="rows_apart", metric="accuracy", expected_n=7, files=file("several"), load=several, score=letter,
        recipe=Recipe(prompt="{media}{question}", max_new_tokens=20, look=Look(max_tiles=6), several=MARKED),
    ),
    Task(
        name="rows_rated", metric="rating", expected_n=8, files=file("rated"), load=rated, score=exact, recipe=PLAIN,
        judge=Judge(
            name="gpt-4-0613", ask=ask, read=rating, max_new_tokens=3, system="You rate answers from 0 to 10.",
            temperatures=(0.0, 0.5, 1.0), tries=2, retry=" Only a number.", unread=1,
        ),
    ),
    Task(
        name="rows_clips", metrics=(mean("accuracy", included=lettered),), expected_n=2, files=file("clips"),
        load=clips, score=letter, subtitles=subtitles,
        recipe=Recipe(prompt=f"{{media}}{LISTED}\n{{subtitles}}\n{{question}}", max_new_tokens=20, look=Look(frames=2)),
    ),
)  # fmt: skip

PLUGIN = ["--plugin", __file__]

# By task and id; all other answers are right.
ANSWERS = {
    "rows_pairs": {"OCR/1.png/0": "no", "OCR/2.png/1": "no\tcat", "existence/3.png/1": "Perhaps."},
    "rows_sets": {"VD_chart_0_1_0": "yes", "VD_chart_1_0_1": "yes"},
    "rows_clips": {"clip-1": "I cannot tell."},
    "rows_rated": {f"v1_{number}": "a guess" for number in range(1, 7)},
}
# What the judge replied about rows_rated. Three attempts, the last never read; two requests for each that fails.
REPLIES: dict[str, list[str | None]] = {
    "v1_1": ["7"],
    "v1_2": [None, "well...", HOSTILE_ANSWERS[0], "9"],
    "v1_3": ["", "3", "8"],
    "v1_4": ["well...", "5"],
    "v1_5": ["x", "y", "z"],
}


def make_run(base: Path) -> Path:
    """Return a run of all tasks whose answers to rows_rated are judged, but for one."""
    draw(base)
    for task in TASKS:
        own = ANSWERS.get(task.name, {})
        lines: list[dict[str, object]] = [
            {"id": one.id, "response": own.get(one.id, one.references[0])} for one in task.load(DataRoot(base))
        ]
        write_jsonl(base / "answers" / task.name / "predictions.jsonl", lines)
    names = [task.name for task in TASKS]
    out = base / "run"
    common = ["--data-root", str(base), "--out", str(out)]
    assert main(["run", "--model", f"replay:{base / 'answers'}", "--tasks", ",".join(names), *PLUGIN, *common]) == 0
    record = write_jsonl(base / "J.jsonl", [{"id": key, "replies": replies} for key, replies in REPLIES.items()])
    assert main(["judge", str(out), "--judge", f"replay:{record}", "--judge-name", "clerk"]) == 3
    return out
