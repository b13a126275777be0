"""MVBench in the official layout: short clips of moving shapes for the 20 sub-tasks."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from evalkit.demo.animation import render
from evalkit.demo.files import save_clip, write_json
from evalkit.demo.plots import PLOTS, Plot

FRAMES = 36
RATES = (10, 12, 15, 25)
_FOLDER_RATE = 3  # frames per second that the official loader takes a folder of frames for
_GIF_RATE = 25  # the same for gifs


class Subtask(NamedTuple):
    """One file of the benchmark.

    Attributes:
        name: stem of the file, and of the plot of its clips.
        folder: official folder of its videos.
        suffix: of its videos; empty: folders of frames.
    """

    name: str
    folder: str
    suffix: str = ".mp4"


SUBTASKS = (
    Subtask("action_sequence", "star/Charades_v1_480"),
    Subtask("action_prediction", "star/Charades_v1_480"),
    Subtask("action_antonym", "ssv2_video"),
    Subtask("fine_grained_action", "Moments_in_Time_Raw/videos"),
    Subtask("unexpected_action", "FunQA_test/test", ".gif"),
    Subtask("object_existence", "clevrer/video_validation"),
    Subtask("object_interaction", "star/Charades_v1_480"),
    Subtask("object_shuffle", "perception/videos"),
    Subtask("moving_direction", "clevrer/video_validation"),
    Subtask("action_localization", "sta/sta_video"),
    Subtask("scene_transition", "scene_qa/video"),
    Subtask("action_count", "perception/videos"),
    Subtask("moving_count", "clevrer/video_validation"),
    Subtask("moving_attribute", "clevrer/video_validation"),
    Subtask("state_change", "perception/videos"),
    Subtask("fine_grained_pose", "nturgbd"),
    Subtask("character_order", "perception/videos"),
    Subtask("egocentric_navigation", "vlnqa"),
    Subtask("episodic_reasoning", "tvqa/frames_fps3_hq", ""),
    Subtask("counterfactual_inference", "clevrer/video_validation"),
)


def write_mvbench(data: Path, count: int, rng: Random) -> list[str]:
    """Write questions and clips.

    Args:
        data: the data folder.
        count: questions in all; each sub-task gets its share, the first ones what is left over.
        rng: source of all chance.

    Returns:
        The texts written.
    """
    texts: list[str] = []
    for place, subtask in enumerate(SUBTASKS):
        share = count // len(SUBTASKS) + (place < count % len(SUBTASKS))
        records = [_write_clip(data / "MVBench" / "video", subtask, number, rng) for number in range(share)]
        write_json(data / "MVBench" / "json" / f"{subtask.name}.json", records)
        for record in records:
            texts += [record["question"], "\n".join(record["candidates"])]
    return texts


def _write_clip(videos: Path, subtask: Subtask, number: int, rng: Random) -> dict[str, Any]:
    """Write one clip and return its record in the official shape."""
    plot = PLOTS[subtask.name](rng)
    rate = {"": _FOLDER_RATE, ".gif": _GIF_RATE}.get(subtask.suffix) or rng.choice(RATES)
    name = f"{subtask.name}_{number:03d}{subtask.suffix}"
    save_clip(videos / subtask.folder / name, render(FRAMES, plot.actors, plot.background), rate)
    return _record(name, plot, rate, rng)


def _record(name: str, plot: Plot, rate: int, rng: Random) -> dict[str, Any]:
    candidates = [plot.answer, *plot.others]
    rng.shuffle(candidates)
    record: dict[str, Any] = {"video": name, "question": plot.question, "candidates": candidates, "answer": plot.answer}
    if plot.part:
        record["start"], record["end"] = (round(time * FRAMES / rate, 2) for time in plot.part)
    return record
