"""Benchmarks that InternVL's repository and VLMEvalKit both ask, each in both layouts: AI2D, MMMU and MM-Vet."""

from __future__ import annotations

import base64
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import NamedTuple

from scripts.demo.choices import LETTERS
from scripts.demo.files import png, png_base64, write_bytes, write_json, write_jsonl, write_judge, write_tsv
from scripts.demo.internvl import LETTER
from scripts.demo.pictures import answer, asked, diagram, lettered, option_lines, wording

AI2D_COLUMNS = ("index", "question", *LETTERS, "answer", "category", "abcLabel", "image_path", "image")
# File, folder of the pictures, and what the labels of a picture are if a question is about its letters.
AI2D_FILES = (("test_vlmevalkit", "AI2D_TEST", "letters"), ("test_no_mask", "AI2D_TEST_NO_MASK", "both"))


def write_ai2d(data: Path, count: int) -> None:
    """Write the test set with masked labels, without mask, and with masked labels as a TSV.

    Args:
        data: the data folder.
        count: questions, two about each diagram.
    """
    table = []
    for file, folder, edited in AI2D_FILES:
        rows = []
        for place in range(count):
            number, sub = divmod(place, 2)
            seed, key = Random(f"evalkit demo diagram {number}"), 100 * number + sub
            image, questions = diagram(seed, "names" if sub else edited)
            question, path = questions[sub], f"ai2diagram/{folder}/{key}.png"
            gold = LETTERS[question.right]
            write_bytes(data / path, png(image))
            text = f"{option_lines(question)}\n{LETTER}"
            rows.append({"image": f"data/{path}", "question": text, "question_id": key, "answer": gold})
            if folder == "AI2D_TEST":
                cells = {"index": key, "question": wording(question), **lettered(question), "answer": gold}
                more = {"category": question.kind[0], "abcLabel": not sub, "image_path": f"ai2d/images/{number}.png"}
                table.append({**cells, **more, "image": png_base64(image)})
        write_jsonl(data / "ai2diagram" / f"{file}.jsonl", rows)
    write_tsv(data / "LMUData" / "AI2D_TEST.tsv", AI2D_COLUMNS, table)


SUBJECTS = (
    "Accounting", "Agriculture", "Architecture_and_Engineering", "Art", "Art_Theory", "Basic_Medical_Science",
    "Biology", "Chemistry", "Clinical_Medicine", "Computer_Science", "Design", "Diagnostics_and_Laboratory_Medicine",
    "Economics", "Electronics", "Energy_and_Power", "Finance", "Geography", "History", "Literature", "Manage",
    "Marketing", "Materials", "Math", "Mechanical_Engineering", "Music", "Pharmacy", "Physics", "Psychology",
    "Public_Health", "Sociology",
)  # fmt: skip
_MMMU_KINDS = ("bars", "table", "thing", "pie", "sum", "line", "form", "crowd", "coin", "road", "letter")
_MMMU_IMAGES = 7  # columns of a Parquet file
_MMMU_MORE = {"topic_difficulty": "Easy", "subfield": "Made up", "explanation": ""}
MMMU_COLUMNS = (
    "index", "field", "question", "split", *LETTERS, "answer", "topic_difficulty", "subfield", "image_type",
    "question_type", "explanation", "image_path", "image", *"EFGHI",
)  # fmt: skip


class College(NamedTuple):
    """A question of MMMU.

    Attributes:
        subject: its subject.
        text: the question, with a place for each picture.
        options: by letter; empty for an open question.
        gold: letter or text of the answer.
        images: PNG files.
    """

    subject: str
    text: str
    options: dict[str, str]
    gold: str
    images: list[bytes]

    @property
    def kind(self) -> str:
        """Type of the question, as the Hub's files and VLMEvalKit's call it."""
        return "multiple-choice" if self.options else "open"


def college_questions(count: int) -> list[College]:
    """Return one question about each of the first ``count`` subjects.

    Every fifth has another picture before the one that it is about, the second such two; every eighth is open. Every
    fourth picture has no palette: MMMU's are enlarged in their own mode.
    """
    pool = asked(_MMMU_KINDS, count, first=1)
    found = []
    for place, (subject, (image, question)) in enumerate(zip(SUBJECTS, pool, strict=False)):
        before = [pool[place - 1 - number][0] for number in range((place == 9) + 1 if place % 5 == 4 else 0)]
        images = [png(one, 0 if place % 4 == 3 else 64) for one in (*before, image)]
        named = [f"<image {number}>" for number in range(1, len(images) + 1)]
        text = f"Look at {' and '.join(named)}. {wording(question)}"
        if place % 8 == 7:
            found.append(College(subject, text, {}, answer(question), images))
        else:
            found.append(College(subject, text, lettered(question), LETTERS[question.right], images))
    return found


def write_mmmu(data: Path, count: int) -> None:
    """Write a Parquet file a subject with the gold answers beside them, and VLMEvalKit's TSV.

    Args:
        data: the data folder.
        count: subjects, one question each.
    """
    questions = college_questions(count)
    labels = {}
    for one in questions:
        key = f"validation_{one.subject}_1"
        _write_parquet(data / "MMMU" / one.subject / "validation-00000-of-00001.parquet", key, one)
        kind = "multiple-choice" if one.options else "short-answer"
        labels[key] = {"question_type": kind, "ground_truth": one.gold}
    write_json(data / "MMMU" / "answer_dict_val.json", labels)
    rows = []
    # As in the official file, a few rows are of another split.
    for index, (one, split) in enumerate([(questions[0], "dev"), *((one, "validation") for one in questions)], start=1):
        suffix = "png" if len(one.images) > 2 else "jpg"  # only the former stay lossless
        names = [f"{index}_{number}.{suffix}" for number in range(1, len(one.images) + 1)]
        rows.append(
            {
                "index": index, "field": one.subject, "question": one.text, "split": split, **one.options,
                "answer": one.gold, "image_type": "['Drawings']", "question_type": one.kind, "image_path": names,
                "image": [base64.b64encode(image).decode("ascii") for image in one.images], **_MMMU_MORE,
            }
        )  # fmt: skip
    write_tsv(data / "LMUData" / "MMMU_DEV_VAL.tsv", MMMU_COLUMNS, rows)


def _write_parquet(path: Path, key: str, one: College) -> None:
    """Write one question as the Hub stores it; uncompressed, so that equal pictures are equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [{"bytes": image, "path": f"{key}_{number}.png"} for number, image in enumerate(one.images, start=1)]
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"id": key, "question": one.text, "options": repr([*one.options.values()])}
    images = [*cells, *[None] * (_MMMU_IMAGES - len(cells))]
    tail = {"img_type": "['Drawings']", "answer": one.gold, **_MMMU_MORE, "question_type": one.kind}
    arrays = {
        **{name: pa.array([text], pa.string()) for name, text in columns.items()},
        **{f"image_{number}": pa.array([cell], picture) for number, cell in enumerate(images, start=1)},
        **{name: pa.array([text], pa.string()) for name, text in tail.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table(arrays), path, compression="none", use_dictionary=False, write_statistics=False, store_schema=False
    )


# Kinds of pictures and the capabilities that MM-Vet's evaluator names.
VET = (
    ("road", ("ocr", "spat")), ("thing", ("rec",)), ("pagoda", ("rec", "know")), ("bars", ("ocr", "math")),
    ("letter", ("ocr",)), ("side", ("rec", "spat")), ("lantern", ("rec", "know", "gen")), ("crowd", ("rec",)),
    ("table", ("ocr",)), ("sum", ("ocr", "math")),
)  # fmt: skip
VET_COLUMNS = ("index", "image", "question", "answer", "category")
# Made-up replies of a judge: a grade, or a text that it is asked about again.
GRADES = (("1.0",), ("0.0",), ("0.5",), ("Correctness: 0.7", "0.7"), ("0.3",))


def write_mmvet(data: Path, count: int) -> None:
    """Write both sets, and a judge's replies about the answers to them.

    Args:
        data: the data folder.
        count: questions of each.
    """
    rows, evaluator, table = [], {}, []
    pairs = zip(asked([kind for kind, _ in VET], count), cycle(VET), strict=False)
    for number, ((image, question), (_, capability)) in enumerate(pairs):
        gold = answer(question) if number % 3 else f"{answer(question)}<OR>It is {answer(question)}"
        name = f"v1_{number}"
        write_bytes(data / "mm-vet" / "images" / f"{name}.png", png(image))
        text = wording(question)
        rows.append({"image": f"{name}.png", "text": text, "category": "conv", "question_id": number})
        evaluator[name] = {
            "imagename": f"{name}.png", "question": text, "answer": gold, "imagesource": "drawn",
            "capability": [*capability],
        }  # fmt: skip
        cells = {"index": number, "question": text, "answer": gold, "category": ",".join(capability)}
        table.append({**cells, "image": png_base64(image)})
    write_jsonl(data / "mm-vet" / "llava-mm-vet.jsonl", rows)
    write_json(data / "mm-vet" / "mm-vet.json", evaluator)
    write_tsv(data / "LMUData" / "MMVet.tsv", VET_COLUMNS, table)
    for task in ("mmvet", "mmvet_turbo"):
        write_judge(data, task, dict(zip(map(str, range(count)), islice(cycle(GRADES), count), strict=True)))
