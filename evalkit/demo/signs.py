"""TextVQA in the official layout: drawn shop signs, bottles, shirts and road signs, ten answers a question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from evalkit.demo.drawing import INK, centred, draw_shape, draw_text, polygon, wall
from evalkit.demo.files import save_image, write_json, write_jsonl
from evalkit.demo.words import BRANDS, DRINKS, LAST_NAMES, PLACES, RGB, TRADES, VALUES

SIZE = (400, 300)
QUESTIONS_A_SIGN = 2
_FIRST_ID = 34602
_ANSWERS = 10
_WHITE = (255, 255, 255)
_DARK = ("red", "green", "blue", "purple", "black")  # white letters are easy to read on these


class Sign(NamedTuple):
    """A picture; its questions with the right answer and one that a hasty reader gives."""

    image: Image.Image
    questions: list[tuple[str, str, str]]


def shop(rng: Random) -> Sign:
    """Return a shop front: a name board, a door and a small notice."""
    name, trade = f"{rng.choice(LAST_NAMES)}'s", rng.choice(TRADES)
    year, phone = str(rng.randint(1890, 1999)), VALUES["phone"](rng)
    image = wall(SIZE, (216, 200, 176), (150, 146, 142), 0.86)
    draw = ImageDraw.Draw(image)
    image.paste(RGB[rng.choice(_DARK)], (24, 24, 376, 136))
    draw_text(image, (200, 64), f"{name} {trade}", 44, _WHITE, "mm", width=328)
    draw_text(image, (200, 112), f"since {year}", 24, _WHITE, "mm")
    draw.rectangle((44, 156, 130, 257), fill=(96, 66, 44))
    draw.ellipse((112, 204, 120, 212), fill=(230, 200, 90))
    draw.rectangle((156, 160, 356, 236), fill=_WHITE, outline=INK, width=2)
    draw_text(image, (256, 184), "Call us:", 22, anchor="mm")
    draw_text(image, (256, 214), phone, 26, anchor="mm")
    return Sign(image, [
        ("what is the name of the shop?", f"{name} {trade}", name),
        ("what year is on the sign?", year, "since"),
        ("what is the phone number?", phone, phone[:3]),
    ])  # fmt: skip


def bottle(rng: Random) -> Sign:
    """Return a bottle with a label."""
    brand, drink = rng.choice(BRANDS), rng.choice(DRINKS)
    volume = f"{rng.choice((250, 330, 500, 750))} ml"
    image = wall(SIZE, (206, 222, 232), (170, 140, 110), 0.8)
    draw = ImageDraw.Draw(image)
    glass = (70, 130, 100)
    draw.rectangle((176, 6, 224, 28), fill=(60, 60, 66))
    draw.rectangle((182, 28, 218, 70), fill=glass)
    polygon(image, [(182, 60), (218, 60), (300, 106), (300, 286), (100, 286), (100, 106)], glass)
    draw.rectangle((100, 116, 300, 266), fill=(250, 244, 226))
    image.paste(RGB[rng.choice(_DARK)], (100, 116, 301, 172))
    draw_text(image, (200, 144), brand, 40, _WHITE, "mm", width=184)
    draw_text(image, (200, 202), drink, 27, anchor="mm", width=184)
    draw_text(image, (200, 244), volume, 24, anchor="mm")
    return Sign(image, [
        ("what is the brand on the bottle?", brand, drink),
        ("what kind of drink is this?", drink, brand),
        ("how much is in the bottle?", volume, volume.split()[0]),
    ])  # fmt: skip


def shirt(rng: Random) -> Sign:
    """Return a player's shirt with name and number."""
    name, number = rng.choice(LAST_NAMES), str(rng.randint(1, 99))
    image = wall(SIZE, (186, 214, 186), (110, 160, 100), 0.7)
    half = [(68, 30), (152, 84), (118, 140), (88, 124), (88, 288)]  # from the middle, downwards
    outline = [(200.0 + x, y) for x, y in half] + [(200.0 - x, y) for x, y in reversed(half)]
    polygon(image, outline, RGB[rng.choice(_DARK)])
    draw_shape(image, "circle", (186, 214, 186), centred(200, 28, 64, 36))
    draw_text(image, (200, 90), name.upper(), 34, _WHITE, "mm", width=164)
    draw_text(image, (200, 190), number, 120, _WHITE, "mm")
    return Sign(image, [
        ("what number is on the shirt?", number, name),
        ("what is the name of the player?", name, number),
    ])  # fmt: skip


def road(rng: Random) -> Sign:
    """Return a road sign with a town and a distance, and a speed limit beside it."""
    town, distance, limit = rng.choice(PLACES), str(rng.randint(2, 98)), str(rng.choice(range(20, 120, 10)))
    image = wall(SIZE, (176, 208, 236), (136, 170, 104), 0.74)
    draw = ImageDraw.Draw(image)
    image.paste((120, 120, 124), (110, 130, 122, 270))
    image.paste((120, 120, 124), (318, 130, 328, 270))
    draw.rounded_rectangle((16, 36, 240, 150), 10, fill=RGB["blue"], outline=_WHITE, width=4)
    draw_text(image, (128, 72), town, 36, _WHITE, "mm", width=196)
    draw_text(image, (128, 120), f"{distance} km", 30, _WHITE, "mm")
    draw_shape(image, "circle", RGB["red"], centred(323, 98, 120))
    draw_shape(image, "circle", _WHITE, centred(323, 98, 90))
    draw_text(image, (323, 98), limit, 46, anchor="mm", width=80)
    return Sign(image, [
        ("which town is on the sign?", town, town[:4]),
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


def write_textvqa(data: Path, count: int, rng: Random) -> list[str]:
    """Write the validation split.

    Args:
        data: the data folder.
        count: questions.
        rng: source of all chance.

    Returns:
        The texts written.
    """
    folder = data / "textvqa"
    questions: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    texts: list[str] = []
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
            texts += [question, right.lower()]
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
    return texts
