"""MVBench in the official layout: short clips of moving shapes for the 20 sub-tasks."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from scripts.demo.files import save_clip, write_json
from scripts.demo.stories import ABOUT_FLOOR, ASKERS, PARTS, make_story

FRAMES = 36
RATES = (10, 12, 15, 25)
_FOLDER_RATE = 3  # frames per second that the official loader takes a folder of frames for
_GIF_RATE = 25  # the same for gifs


class Subtask(NamedTuple):
    """One file of the benchmark.

    Attributes:
        name: stem of the file.
        folder: official folder of its videos.
        suffix: of its videos; empty: folders of frames.
        bound: whether its records name the part of the video that they ask about.
    """

    name: str
    folder: str
    suffix: str = ".mp4"
    bound: bool = False


SUBTASKS = (
    Subtask("action_sequence", "star/Charades_v1_480", bound=True),
    Subtask("action_prediction", "star/Charades_v1_480", bound=True),
    Subtask("action_antonym", "ssv2_video"),
    Subtask("fine_grained_action", "Moments_in_Time_Raw/videos"),
    Subtask("unexpected_action", "FunQA_test/test", ".gif"),
    Subtask("object_existence", "clevrer/video_validation"),
    Subtask("object_interaction", "star/Charades_v1_480", bound=True),
    Subtask("object_shuffle", "perception/videos"),
    Subtask("moving_direction", "clevrer/video_validation"),
    Subtask("action_localization", "sta/sta_video", bound=True),
    Subtask("scene_transition", "scene_qa/video"),
    Subtask("action_count", "perception/videos"),
    Subtask("moving_count", "clevrer/video_validation"),
    Subtask("moving_attribute", "clevrer/video_validation"),
    Subtask("state_change", "perception/videos"),
    Subtask("fine_grained_pose", "nturgbd"),
    Subtask("character_order", "perception/videos"),
    Subtask("egocentric_navigation", "vlnqa"),
    Subtask("episodic_reasoning", "tvqa/frames_fps3_hq", "", bound=True),
    Subtask("counterfactual_inference", "clevrer/video_validation"),
)


def write_mvbench(data: Path, count: int, rng: Random) -> None:
    """Write questions and clips.

    Args:
        data: the data folder.
        count: questions in all; each sub-task gets its share, the first ones the remainder.
        rng: source of randomness.
    """
    for place, subtask in enumerate(SUBTASKS):
        share = count // len(SUBTASKS) + (place < count % len(SUBTASKS))
        records = [_write_clip(data / "MVBench" / "video", subtask, number, rng) for number in range(share)]
        write_json(data / "MVBench" / "json" / f"{subtask.name}.json", records)


def _write_clip(videos: Path, subtask: Subtask, number: int, rng: Random) -> dict[str, Any]:
    """Write one clip and return its record in the official shape."""
    story = make_story(rng, subtask.name in ABOUT_FLOOR)
    rate = {"": _FOLDER_RATE, ".gif": _GIF_RATE}.get(subtask.suffix) or rng.choice(RATES)
    name = f"{subtask.name}_{number:03d}{subtask.suffix}"
    frames = [story.frame(place / (FRAMES - 1)) for place in range(FRAMES)]
    save_clip(videos / subtask.folder / name, frames, rate)
    question = ASKERS[subtask.name](story, rng)
    candidates = [question.answer, *question.others]
    rng.shuffle(candidates)
    record: dict[str, Any] = {
        "video": name, "question": question.text, "candidates": candidates, "answer": question.answer,
    }  # fmt: skip
    if subtask.bound:
        part = PARTS.get(subtask.name, (0.0, 1.0))
        record["start"], record["end"] = (round(time * FRAMES / rate, 2) for time in part)
    return record
