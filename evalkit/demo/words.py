"""The words that the demo is made of, and values drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from evalkit.demo.drawing import Rgb


class Word(NamedTuple):
    """A word in both languages of MMBench."""

    en: str
    cn: str


RGB: Mapping[str, Rgb] = {
    "red": (214, 40, 40),
    "green": (35, 150, 65),
    "blue": (35, 85, 205),
    "yellow": (245, 205, 30),
    "orange": (245, 130, 25),
    "purple": (135, 55, 165),
    "black": (25, 25, 28),
    "pink": (245, 140, 185),
}
COLOURS = tuple(RGB)
COLOUR_WORDS = tuple(map(Word, COLOURS, ("红色", "绿色", "蓝色", "黄色", "橙色", "紫色", "黑色", "粉色")))
SHAPES = ("circle", "square", "triangle", "diamond", "star")
SHAPE_WORDS = tuple(map(Word, SHAPES, ("圆形", "正方形", "三角形", "菱形", "星形")))
FIRST_NAMES = ("Ann", "Ben", "Clara", "David", "Eva", "Frank", "Grace", "Henry", "Iris", "John", "Laura", "Tom")
NAME_WORDS = tuple(map(Word, FIRST_NAMES[:6], ("安", "本", "克拉拉", "大卫", "伊娃", "弗兰克")))
LAST_NAMES = ("Baker", "Carter", "Fisher", "Gardner", "Hill", "Mason", "Porter", "Reed", "Turner", "Weaver")
PLACES = ("Ashford", "Brookfield", "Easton", "Greenville", "Lakeside", "Milton", "Norwood", "Riverton", "Weston")
TRADES = ("Bakery", "Books", "Cafe", "Flowers", "Garage", "Market", "Pharmacy", "Shoes", "Tools", "Toys")
GOODS = ("Apples", "Bread", "Candles", "Chairs", "Cups", "Lamps", "Paper", "Pencils", "Rope", "Soap", "Tables", "Tea")
BRANDS = ("Alto", "Boreal", "Cobalt", "Delta", "Fjord", "Lumo", "Nordic", "Opal", "Rondo", "Solara", "Vento", "Zephyr")
DRINKS = ("Apple Juice", "Cold Tea", "Ginger Ale", "Lemonade", "Mineral Water", "Orange Soda")
MONTHS = ("January", "March", "April", "May", "June", "July", "August", "October", "November", "December")
SUBJECTS = ("Annual meeting", "Delivery of chairs", "New opening hours", "Price list", "Repair of the roof")


def _date(rng: Random) -> str:
    return f"{rng.choice(MONTHS)} {rng.randint(1, 28)}, {rng.randint(1975, 2019)}"


# Kinds of values that fields of a document hold.
VALUES: Mapping[str, Callable[[Random], str]] = {
    "amount": lambda rng: f"${rng.randint(11, 990)}.{rng.choice(('00', '25', '50', '75'))}",
    "code": lambda rng: f"{rng.choice('ABCDEFGHK')}-{rng.randint(1000, 9999)}",
    "company": lambda rng: f"{rng.choice(PLACES)} {rng.choice(TRADES)}",
    "date": _date,
    "days": lambda rng: f"{rng.choice((10, 14, 21, 30, 45, 60))} days",
    "person": lambda rng: f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}",
    "phone": lambda rng: f"555-{rng.randint(1000, 9999)}",
    "place": lambda rng: rng.choice(PLACES),
    "room": lambda rng: str(rng.randint(2, 48)),
    "subject": lambda rng: rng.choice(SUBJECTS),
    "time": lambda rng: f"{rng.randint(8, 18)}:{rng.choice(('00', '15', '30', '45'))}",
    "weight": lambda rng: f"{rng.randint(2, 95)} kg",
}
