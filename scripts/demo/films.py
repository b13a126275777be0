"""MMBench-Video and Video-MME in VLMEvalKit's layout: the same drawn clips, some with subtitles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import NamedTuple

from scripts.demo.choices import LETTERS
from scripts.demo.clips import FRAMES
from scripts.demo.files import save_clip, write_judge, write_text, write_tsv
from scripts.demo.stories import ASKERS, Question, Story, make_story

RATE = 10  # frames per second
DURATIONS = ("short", "medium", "long")  # what Video-MME calls a clip; all are equally short here
# What a story is asked, and the dimensions of such a question in MMBench-Video; all have four candidates.
ASKED: Mapping[str, tuple[str, ...]] = {
    "object_existence": ("Object Recognition",),
    "moving_direction": ("Human Motion", "Natural Relation"),
    "object_shuffle": ("OCR",),
    "action_count": ("Counting", "Mathematical Calculation"),
}
RATINGS = ("3", "0", "1", "2", "1")  # made-up replies of a judge
FILM_COLUMNS = ("index", "video", "video_type", "question", "answer", "dimensions", "video_path")
MME_COLUMNS = (
    "index", "video", "video_path", "duration", "domain", "sub_category", "task_type", "subtitle_path", "question",
    "answer",
)  # fmt: skip


class Film(NamedTuple):
    """A clip's name, what happens in it, and its questions by sub-task."""

    name: str
    story: Story
    questions: dict[str, Question]


def write_films(data: Path, count: int) -> None:
    """Write both benchmarks, and a judge's ratings of answers to MMBench-Video.

    Args:
        data: the data folder.
        count: clips, each with one question of each kind.
    """
    folders = (data / "LMUData" / "MMBench-Video", data / "LMUData" / "Video-MME")
    films = [_film(number) for number in range(count)]
    for number, film in enumerate(films):
        frames = [film.story.frame(place / (FRAMES - 1)) for place in range(FRAMES)]
        for folder in folders:
            save_clip(folder / "video" / f"{film.name}.mp4", frames, RATE)
        if number:  # one has no subtitles, like a few of the real ones
            write_text(folders[1] / "subtitle" / f"{film.name}.srt", _subtitles(film.story))
    rows = [(film, kind, question) for film in films for kind, question in film.questions.items()]
    write_tsv(
        folders[0] / "MMBench-Video.tsv",
        FILM_COLUMNS,
        [
            {
                "index": index, "video": film.name, "video_type": "Drawn", "question": question.text,
                "answer": question.answer, "dimensions": [*ASKED[kind]], "video_path": f"./video/{film.name}.mp4",
            }
            for index, (film, kind, question) in enumerate(rows)
        ],
    )  # fmt: skip
    write_tsv(folders[1] / "Video-MME.tsv", MME_COLUMNS, [_choice(index, *row) for index, row in enumerate(rows)])
    replies = {str(index): (RATINGS[index % len(RATINGS)],) for index in range(len(rows))}
    for task in ("mmbench_video_8f", "mmbench_video_16f"):
        write_judge(data, task, replies)


def _film(number: int) -> Film:
    rng = Random(f"evalkit demo film {number}")
    story = make_story(rng)
    return Film(
        f"drawn_{DURATIONS[number % len(DURATIONS)]}_{number}",
        story,
        {kind: ASKERS[kind](story, rng) for kind in ASKED},
    )


def _choice(index: int, film: Film, kind: str, question: Question) -> dict[str, object]:
    """Return a question as a row of Video-MME."""
    options = [question.answer, *question.others]
    Random(f"evalkit demo film option {index}").shuffle(options)
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True)]
    return {
        "index": index, "video": film.name, "video_path": f"./video/{film.name}.mp4",
        "duration": film.name.split("_")[1], "domain": "Life Record", "sub_category": "Made up",
        "task_type": kind, "subtitle_path": f"./subtitle/{film.name}.srt",
        "question": "\n".join([question.text, *lines]), "answer": LETTERS[options.index(question.answer)],
    }  # fmt: skip


def _subtitles(story: Story) -> str:
    """Return subtitles in the form of YouTube's: what the arrow does in the two halves."""
    half = FRAMES / RATE / 2
    lines = []
    for number in (0, 1):
        start, end = (f"00:00:{time:06.3f}".replace(".", ",") for time in (half * number, half * (number + 1)))
        text = f'<font color="white" size=".72c">The arrow moves {story.step(number)}.</font>'
        lines.append(f"{number + 1}\n{start} --> {end}\n{text}\n\n")
    return "".join(lines)
