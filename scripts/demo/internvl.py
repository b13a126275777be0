"""Benchmarks of the InternVL repository in its layout: InfographicVQA, MME and SEED-Bench."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.demo.choices import LETTERS
from scripts.demo.files import png, write_bytes, write_json, write_jsonl, write_text
from scripts.demo.pictures import PICTURES, answer, asked, lettered, option_lines, picture, wording, wrong, yes_or_no

LETTER = "Answer with the option's letter from the given choices directly."

# Split, first question id, kinds of pictures.
INFOGRAPHICS = (("val", 98000, ("form", "table", "bars")), ("test", 60000, ("letter", "pie", "line")))


def write_infovqa(data: Path, count: int) -> None:
    """Write both splits.

    Args:
        data: the data folder.
        count: questions per split.
    """
    folder = data / "infographicsvqa"
    for split, first, kinds in INFOGRAPHICS:
        rows: list[dict[str, Any]] = []
        for place in range(count):
            turn, number = divmod(place, len(kinds))
            image, questions = picture(kinds[number], 0)
            question, name = questions[turn % len(questions)], f"{first // 10 + number}.png"
            write_bytes(folder / "infographicsvqa_images" / name, png(image))
            row = {"image": f"data/infographicsvqa/infographicsvqa_images/{name}", "question": wording(question)}
            gold = {"answer": [answer(question)]} if split == "val" else {}
            rows.append({**row, "question_id": first + place, **gold})
        write_jsonl(folder / f"{split}.jsonl", rows)
        if split == "val":
            labels = [
                {
                    "questionId": row["question_id"], "question": row["question"], "answers": row["answer"],
                    "image_local_name": Path(row["image"]).name, "data_split": split,
                }
                for row in rows
            ]  # fmt: skip
            head = {"dataset_name": "evalkit demo", "dataset_version": "1.0", "dataset_split": split}
            write_json(folder / "infographicsVQA_val_v1.0_withQT.json", {**head, "data": labels})


# Kinds of pictures of MME's tasks.
MME: Mapping[str, tuple[str, str]] = {
    "existence": ("thing", "coin"),
    "count": ("crowd", "skewer"),
    "position": ("side", "side"),
    "color": ("thing", "lantern"),
    "posters": ("shop", "bottle"),
    "celebrity": ("shirt", "shirt"),
    "scene": ("road", "pagoda"),
    "landmark": ("pagoda", "road"),
    "artwork": ("bamboo", "coin"),
    "OCR": ("door", "bottle"),
    "commonsense_reasoning": ("lantern", "skewer"),
    "numerical_calculation": ("sum", "sum"),
    "text_translation": ("shop", "letter"),
    "code_reasoning": ("bars", "table"),
}


def write_mme(data: Path, count: int) -> None:
    """Write all 14 tasks.

    Args:
        data: the data folder.
        count: pictures per task, each with one question for yes and one for no.
    """
    for task, kinds in MME.items():
        lines = []
        for place in range(count):
            image, questions = picture(kinds[place % len(kinds)], place % PICTURES)
            question, name = questions[-1], f"{place:04d}.png"
            write_bytes(data / "mme" / "MME_Benchmark_release_version" / task / name, png(image))
            for option, gold in ((answer(question), "Yes"), (wrong(question), "No")):
                lines.append(f"{name}\t{yes_or_no(question, option)} Please answer yes or no.\t{gold}\n")
        write_text(data / "mme" / "Your_Results" / f"{task}.txt", "".join(lines))


# Names of SEED-Bench's types of questions, numbered from 1, and pictures for those about images.
SEED = (
    ("Scene Understanding", "pagoda"),
    ("Instance Identity", "thing"),
    ("Instance Attributes", "lantern"),
    ("Instance Location", "side"),
    ("Instances Counting", "crowd"),
    ("Spatial Relation", "road"),
    ("Instance Interaction", "skewer"),
    ("Visual Reasoning", "bars"),
    ("Text Understanding", "shop"),
)
SEED_VIDEOS = ("Action Recognition", "Action Prediction", "Procedure Understanding")


def write_seed(data: Path, count: int) -> None:
    """Write questions about images and, as the official files have them, some about videos.

    Args:
        data: the data folder.
        count: questions about images.
    """
    images = [
        (30000 + 11 * place, f"SEED-Bench-image/{place}_{250 + place}", "image", place % len(SEED) + 1, item)
        for place, item in enumerate(asked([kind for _, kind in SEED], count, first=1))
    ]
    videos = [
        (f"v{place}", f"SEED-Bench-video-image/v{place}.png", "video", len(SEED) + 1 + place, item)
        for place, item in enumerate(asked(["side"], len(SEED_VIDEOS)))
    ]
    rows, annotations = [], []
    for key, path, kind, number, (image, question) in (*images, *videos):
        gold, options = LETTERS[question.right], lettered(question)
        write_bytes(data / "SEED" / path, png(image))
        text = f"{option_lines(question)}\n{LETTER}"
        rows.append({"image": path, "text": text, "question_id": key, "answer": gold})
        annotations.append(
            {
                "answer": gold, **{f"choice_{letter.lower()}": option for letter, option in options.items()},
                "data_id": Path(path).name, "data_type": kind, "question": wording(question), "question_id": str(key),
                "question_type_id": number,
            }
        )  # fmt: skip
    write_jsonl(data / "SEED" / "seed.jsonl", rows)
    types = {name: number for number, name in enumerate([*(name for name, _ in SEED), *SEED_VIDEOS], start=1)}
    write_json(data / "SEED" / "SEED-Bench.json", {"questions": annotations, "question_type": types})
