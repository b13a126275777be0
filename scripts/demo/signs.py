"""TextVQA in the official layout: drawn shop signs, bottles, shirts and road signs, ten answers a question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from scripts.demo.drawing import INK, centred, draw_shape, draw_text, polygon, wall
from scripts.demo.files import save_image, write_json, write_jsonl
from scripts.demo.words import BRANDS, CITIES, GOODS, NAMES, RGB

SIZE = (236, 118)
QUESTIONS_A_SIGN = 2
_FIRST_ID = 34602
_ANSWERS = 10
_WHITE = (255, 255, 255)
_DARK = ("red", "green", "blue", "purple", "black")  # white letters are easy to read on these


class Sign(NamedTuple):
    """A picture; its questions with the right answer and a hasty reader's."""

    image: Image.Image
    questions: list[tuple[str, str, str]]


def shop(rng: Random) -> Sign:
    """Return a shop front: a name board, a door and a notice with a telephone number."""
    name, phone = rng.choice(BRANDS), str(rng.randint(100, 999))
    image = wall(SIZE, (216, 200, 176), (150, 146, 142), 0.9)
    draw = ImageDraw.Draw(image)
    image.paste(RGB[rng.choice(_DARK)], (8, 6, 228, 56))
    draw_text(image, (118, 31), name, 38, _WHITE, "mm", width=200)
    draw.rectangle((18, 62, 62, 106), fill=(96, 66, 44))
    draw.ellipse((52, 82, 58, 88), fill=(230, 200, 90))
    draw.rectangle((84, 64, 222, 102), fill=_WHITE, outline=INK, width=2)
    draw_text(image, (92, 83), "Call", 26, anchor="lm")
    draw_text(image, (152, 83), phone, 28, anchor="lm")
    return Sign(image, [
        ("what is the name of the shop?", name, "call"),
        ("what is the phone number?", phone, phone[:2]),
    ])  # fmt: skip


def bottle(rng: Random) -> Sign:
    """Return a bottle that lies on its side, with a label."""
    brand, drink, volume = rng.choice(BRANDS), rng.choice(GOODS), f"{rng.randint(10, 99)} ml"
    image = wall(SIZE, (206, 222, 232), (170, 140, 110), 0.84)
    glass = (70, 130, 100)
    polygon(image, [(2, 46), (26, 46), (50, 8), (232, 8), (232, 108), (50, 108), (26, 72), (2, 72)], glass)
    image.paste(RGB[rng.choice(_DARK)], (58, 14, 226, 58))
    image.paste((250, 244, 226), (58, 58, 226, 104))
    draw_text(image, (142, 36), brand, 34, _WHITE, "mm")
    draw_text(image, (64, 82), drink, 26, anchor="lm")
    draw_text(image, (154, 82), volume, 26, anchor="lm")
    return Sign(image, [
        ("what is the brand on the bottle?", brand, drink),
        ("what is in the bottle?", drink, brand),
        ("how much is in the bottle?", volume, volume.split()[0]),
    ])  # fmt: skip


def shirt(rng: Random) -> Sign:
    """Return a player's shirt with name and number."""
    name, number = rng.choice(NAMES), str(rng.randint(10, 99))
    image = wall(SIZE, (186, 214, 186), (110, 160, 100), 0.7)
    half = [(30, 4), (112, 18), (104, 62), (74, 56), (74, 116)]  # from the middle, downwards
    outline = [(118.0 + x, y) for x, y in half] + [(118.0 - x, y) for x, y in reversed(half)]
    polygon(image, outline, RGB[rng.choice(_DARK)])
    draw_text(image, (118, 26), name, 34, _WHITE, "mm")
    draw_text(image, (118, 80), number, 60, _WHITE, "mm")
    return Sign(image, [
        ("what number is on the shirt?", number, name),
        ("what is the name of the player?", name, number),
    ])  # fmt: skip


def road(rng: Random) -> Sign:
    """Return a road sign with a town and a distance, and a speed limit beside it."""
    town, distance, limit = rng.choice(CITIES), str(rng.randint(10, 99)), str(rng.choice(range(20, 100, 10)))
    image = wall(SIZE, (176, 208, 236), (136, 170, 104), 0.8)
    draw = ImageDraw.Draw(image)
    for x in (70, 182):
        image.paste((120, 120, 124), (x, 60, x + 8, 112))
    draw.rounded_rectangle((6, 6, 140, 92), 8, fill=RGB["blue"], outline=_WHITE, width=3)
    draw_text(image, (73, 28), town, 32, _WHITE, "mm")
    draw_text(image, (73, 68), f"{distance} km", 30, _WHITE, "mm")
    draw_shape(image, "circle", RGB["red"], centred(186, 48, 84))
    draw_shape(image, "circle", _WHITE, centred(186, 48, 62))
    draw_text(image, (186, 48), limit, 38, anchor="mm")
    return Sign(image, [
        ("which town is on the sign?", town, town[:3]),
        ("how many km is it to the town?", distance, limit),
        ("what is the speed limit?", limit, distance),
    ])  # fmt: skip


SIGNS: tuple[Callable[[Random], Sign], ...] = (shop, bottle, shirt, road)


def ten_answers(rng: Random, right: str, hasty: str) -> list[dict[str, object]]:
    """Return ten people's answers, most of them right and one to three hasty, in the official form."""
    wrong = rng.randint(1, 3)
    answers = [right.lower()] * (_ANSWERS - wrong) + [hasty.lower()] * wrong
    rng.shuffle(answers)
    return [{"answer": text, "answer_confidence": "yes", "answer_id": place} for place, text in enumerate(answers, 1)]


def write_textvqa(data: Path, count: int, rng: Random) -> None:
    """Write the validation split.

    Args:
        data: the data folder.
        count: questions.
        rng: source of randomness.
    """
    folder = data / "textvqa"
    questions: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    number = 0
    while len(questions) < count:
        sign = SIGNS[number % len(SIGNS)](rng)
        number += 1
        name = f"{rng.getrandbits(64):016x}"
        save_image(folder / "train_images" / f"{name}.jpg", sign.image)
        for question, right, hasty in rng.sample(sign.questions, min(QUESTIONS_A_SIGN, count - len(questions))):
            keys = {"question_id": _FIRST_ID + len(questions), "image_id": name}
            questions.append({**keys, "question": question})
            kind = {"question_type": "none of the above", "answer_type": "other"}
            answers = ten_answers(rng, right, hasty)
            annotations.append({**keys, **kind, "multiple_choice_answer": right.lower(), "answers": answers})
    rows = [
        {
            "image": f"data/textvqa/train_images/{row['image_id']}.jpg", "question": row["question"],
            "question_id": row["question_id"],
        }
        for row in questions
    ]  # fmt: skip
    write_jsonl(folder / "textvqa_val.jsonl", rows)
    write_json(folder / "textvqa_val_questions.json", {"questions": questions})
    write_json(folder / "textvqa_val_annotations.json", {"annotations": annotations})
