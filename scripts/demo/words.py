"""The words that the demo is made of: few and short, so that a tiny model can learn to read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from scripts.demo.drawing import Rgb


class Word(NamedTuple):
    """A word in both languages of MMBench."""

    en: str
    cn: str


RGB: Mapping[str, Rgb] = {
    "red": (214, 40, 40),
    "green": (35, 150, 65),
    "blue": (35, 85, 205),
    "yellow": (245, 205, 30),
    "purple": (150, 60, 175),
    "black": (25, 25, 28),
}
COLOURS = tuple(RGB)
COLOUR_WORDS = tuple(map(Word, COLOURS, ("红色", "绿色", "蓝色", "黄色", "紫色", "黑色")))
SHAPES = ("circle", "square", "triangle", "star")
SHAPE_WORDS = tuple(map(Word, SHAPES, ("圆形", "正方形", "三角形", "星形")))
NAMES = ("Ann", "Ben", "Eva", "Ida", "Max", "Tom")
NAME_WORDS = tuple(map(Word, NAMES, ("安", "本", "伊娃", "艾达", "马克斯", "汤姆")))
CITIES = ("Bern", "Cairo", "Delhi", "Lima", "Oslo", "Rome")
GOODS = ("Cups", "Lamps", "Milk", "Rice", "Rope", "Salt", "Soap", "Tea")
BRANDS = ("Alto", "Fjord", "Lumo", "Opal", "Vento", "Zephyr")
MONTHS = ("March", "April", "May", "June", "July", "August")

# Kinds of values that fields of a document hold.
VALUES: Mapping[str, Callable[[Random], str]] = {
    "amount": lambda rng: f"${rng.randint(10, 99)}",
    "city": lambda rng: rng.choice(CITIES),
    "date": lambda rng: f"{rng.randint(10, 28)} {rng.choice(MONTHS)}",
    "good": lambda rng: rng.choice(GOODS),
    "name": lambda rng: rng.choice(NAMES),
    "number": lambda rng: str(rng.randint(100, 999)),
    "small": lambda rng: str(rng.randint(10, 99)),
}
