"""MVBench: 20 video sub-tasks of 200 multiple-choice questions, 16 frames, scored by the option token.

Official data: ``data/MVBench/json/<sub-task>.json`` and ``data/MVBench/video/<folder>/`` (protocol sheet 7.1). The
official check counts an empty answer as right and "Option A" as wrong; ``fixed`` reads the answer carefully.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from evalkit.data.readers import Record, read_records, unique
from evalkit.data.root import DataRoot
from evalkit.errors import UsageError
from evalkit.metrics.choice import careful_choice, option_token_match
from evalkit.records import Media, MediaKind, Sample, Score
from evalkit.task import Task

# Sub-task (and json file), folder of its videos, whether the questions ask about a part (start, end) of the video.
SUBTASKS = (
    ("action_sequence", "star/Charades_v1_480", True),
    ("action_prediction", "star/Charades_v1_480", True),
    ("action_antonym", "ssv2_video", False),
    ("fine_grained_action", "Moments_in_Time_Raw/videos", False),
    ("unexpected_action", "FunQA_test/test", False),
    ("object_existence", "clevrer/video_validation", False),
    ("object_interaction", "star/Charades_v1_480", True),
    ("object_shuffle", "perception/videos", False),
    ("moving_direction", "clevrer/video_validation", False),
    ("action_localization", "sta/sta_video", True),
    ("scene_transition", "scene_qa/video", False),
    ("action_count", "perception/videos", False),
    ("moving_count", "clevrer/video_validation", False),
    ("moving_attribute", "clevrer/video_validation", False),
    ("state_change", "perception/videos", False),
    ("fine_grained_pose", "nturgbd", False),
    ("character_order", "perception/videos", False),
    ("egocentric_navigation", "vlnqa", False),
    ("episodic_reasoning", "tvqa/frames_fps3_hq", True),
    ("counterfactual_inference", "clevrer/video_validation", False),
)
FRAME_FOLDERS = {"episodic_reasoning"}


def file_of(name: str) -> str:
    """Return the official path of a sub-task's questions."""
    return f"data/MVBench/json/{name}.json"


def load(root: DataRoot) -> list[Sample]:
    """Read the sub-tasks whose file is present, in the official order."""
    return unique(
        (
            sample_of(row, name, folder, bound)
            for name, folder, bound in SUBTASKS
            if root.resolve(file_of(name)).is_file()
            for row in read_records(root.resolve(file_of(name)), file_of(name))
        ),
        "data/MVBench/json",
    )


def sample_of(row: Record, name: str, folder: str, bound: bool) -> Sample:
    """Return one record as a sample."""
    path = f"data/MVBench/video/{folder}/{row.text('video')}"
    kind: MediaKind = "frames" if name in FRAME_FOLDERS else "gif" if PurePosixPath(path).suffix == ".gif" else "video"
    start, end = (row.optional_number("start"), row.optional_number("end")) if bound else (None, None)
    options = {chr(ord("A") + index): text for index, text in enumerate(row.texts("candidates"))}
    gold = [letter for letter, text in options.items() if text == row.text("answer")]
    if not gold:
        raise UsageError(f"{row.where}: the answer {row.text('answer')!r} is not among the candidates")
    lines = [
        f"Question: {row.text('question')}",
        "Options:",
        *(f"({letter}) {text}" for letter, text in options.items()),
    ]
    media = Media(path, kind, start, end)
    group = path if start is None else f"{path}@{start}-{end}"
    # The last of equal candidates is the gold one, as in the official loop over the candidates.
    return Sample(
        f"{name}-{row.line}", "\n".join(lines).rstrip(), (media,), (gold[-1],), group, name, {"options": options}
    )


def score(sample: Sample, answer: str) -> Score:
    """Score by the official option token."""
    gold, options = sample.references[0], sample.fields["options"]
    choice = careful_choice(answer, options)
    return Score(float(option_token_match(answer, gold)), choice, float(choice == gold))


TASKS = (
    Task(
        name="mvbench", metric="accuracy", expected_n=4000, files=tuple(file_of(name) for name, _, _ in SUBTASKS),
        load=load, score=score, parts=True, defects=("empty answer right, 'Option A' wrong",),
        get="json and video folders of the Hub dataset OpenGVLab/MVBench; NTU videos need their own licence",
    ),
)  # fmt: skip
