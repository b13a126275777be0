"""Rows of VLMEvalKit's files and answers that went through an xlsx file, as the official code sees them; bad input."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evalkit.data.lmu import lmu_rows
from evalkit.data.root import DataRoot
from evalkit.errors import IncompleteError, UsageError
from evalkit.media.load import load
from evalkit.metrics.read_back import read_back, seen
from evalkit.records import Look, Media, Sample
from evalkit.requests import views_of
from tests.vk_golden import GOLDEN, TASKS, expected_of, lines_of

FILE = "data/LMUData/Some.tsv"
Write = Callable[..., DataRoot]


def image(shade: int = 100) -> str:
    file = io.BytesIO()
    Image.new("RGB", (12, 9), (shade, 0, 0)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a table, its columns in the first line, and returns its data root."""

    def table(*lines: str, name: str = FILE) -> DataRoot:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return DataRoot(tmp_path)

    return table


# Answers


@pytest.mark.shared_data
@pytest.mark.parametrize("name", TASKS)
def test_answers_are_read_back_as_the_official_code_sees_them(name: str) -> None:
    changed = expected_of(name)["as_read_back"]
    answers = {line["id"]: line["response"] for line in lines_of(GOLDEN / "predictions" / f"{name}.jsonl")}
    assert {key: seen(answer) for key, answer in answers.items()} == answers | changed


@pytest.mark.parametrize(
    ("answer", "back"),
    [
        ("", None),
        ("None", None),
        ("#N/A N/A", None),
        (" None", " None"),
        ("none", "none"),
        ("=A", "0"),
        ("{=B}", "0"),
        ("{=B", "{=B"),
        (" =A", " =A"),
        ("B\r\n", "B_x000D_\n"),
        ("\t7 \n", "\t7 \n"),
        ("\x00\x1f\x7f", "_x0000__x001F_\x7f"),
        ("_x000D_", "_x000D_"),
        ("mailto:me", "me"),
        ("internal:nan", None),
        ("external:x", "x"),
        ("Mailto:me", "Mailto:me"),
        ("x" * 40_000, "x" * 32_767),
        ("7.0", "7.0"),
    ],
)
def test_what_an_xlsx_file_does_to_an_answer(answer: str, back: str | None) -> None:
    assert read_back(answer) == back


@given(
    st.text(
        alphabet=st.sampled_from("=:{}\r\n\t\x00_x0D aNnoe/é") | st.characters(exclude_categories=["Cs"]), max_size=30
    )
)
def test_what_was_read_back_stays_as_it_is(answer: str) -> None:
    back = read_back(answer)
    assert read_back(back or "") == back


# Rows


def test_cells_are_what_pandas_shows(write: Write) -> None:
    root = write(
        "index\tA\tB\tC\tD", "1\t3\t2.50\tTrue\tx", "2\tNone\t1e2\tFalse\t007", '3\t5\t7\tTrue\t"a\tb"', name=FILE
    )
    rows = lmu_rows(root, FILE)
    assert [row.data for row in rows] == [
        {"index": "1", "A": "3.0", "B": "2.5", "C": "True", "D": "x"},
        {"index": "2", "B": "100.0", "C": "False", "D": "007"},
        {"index": "3", "A": "5.0", "B": "7.0", "C": "True", "D": "a\tb"},
    ]
    assert [row.lost for row in rows] == [{}, {"A": "None"}, {}]
    assert [row.media for row in rows] == [(Media(f"{FILE}#{key}", "row"),) for key in ("1", "2", "3")]


def test_rows_without_an_image_are_dropped_and_references_followed(write: Write) -> None:
    root = write("index\timage\tquestion", f"1\t{image()}\ta", "2\t\tb", "3\tnan\tc", "1000001\t1\td")
    assert [(row.id, row.text("question"), len(row.media)) for row in lmu_rows(root, FILE)] == [
        ("1", "a", 1),
        ("1000001", "d", 1),
    ]


def test_several_images_of_a_row_are_found_and_png_names_stay_lossless(write: Write) -> None:
    first, second = image(10), image(200)
    lines = [
        f"7\t['{first}', '{second}']\t['a.JPG', 'b.PNG']",
        f"8\t['{first}']\t['c.png']",
        "9\t7\t['d.png', 'e.webp']",
    ]
    root = write("index\timage\timage_path", *lines)
    several, one, other = (row.media for row in lmu_rows(root, FILE))
    assert several == (Media(f"{FILE}#7/0", "row"), Media(f"{FILE}#7/1", "row", lossless=True))
    assert one == (Media(f"{FILE}#8", "row"),)
    assert [media.lossless for media in other] == [True, False]
    reds = [int(load(view, root)[0][0, 0, 0, 0]) for view in views_of((*several, *one, *other), Look(), 28)]
    assert reds == [10, 200, 10, 10, 200]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["question", "a"], "no key 'index'; the record has 'question'"),
        (["index\tquestion", "\ta"], "no key 'index'"),
        (["index\tA", "1\ta\tb"], "line 2 has more cells than the header"),
        (["index\timage\timage_path", f"1\t['{image()}', '{image()}']\t['a.png']"], "2 images but 1 names"),
        (["index\timage", f"1\t['{image()}',, 'x']"], "'image' is not a Python list"),
        ([], "not a readable table"),
    ],
)
def test_a_malformed_table_is_one_line(lines: list[str], problem: str, write: Write) -> None:
    with pytest.raises(UsageError) as raised:
        lmu_rows(write(*lines), FILE)
    assert problem in str(raised.value)
    assert "Some.tsv" in str(raised.value) and "\n" not in str(raised.value)


def test_a_table_without_rows_and_an_absent_one(write: Write) -> None:
    with pytest.raises(UsageError, match="no row"):
        lmu_rows(write("index\tquestion"), FILE)
    with pytest.raises(IncompleteError, match=r"data file data/LMUData/Other\.tsv is missing"):
        lmu_rows(write("index"), "data/LMUData/Other.tsv")


CHOICE = "index\tquestion\tA\tB\tanswer"


def test_a_gold_answer_like_a_list_that_is_none_is_a_text(write: Write) -> None:
    task = TASKS["mmmu_val_vlmevalkit"]
    root = write(f"{CHOICE}\tsplit", "1\ta\t\t\t[1,,2]\tvalidation", name=task.files[0])
    assert [sample.references for sample in task.load(root)] == [("[1,,2]",)]


@pytest.mark.parametrize(
    ("name", "lines", "problem"),
    [
        ("realworldqa", ["index\tA\tanswer", "1\tx\tA"], "no key 'question'"),
        ("mmmu_val_vlmevalkit", [CHOICE, "1\ta\tx\ty\tA"], "no key 'split'"),
        ("mmmu_val_vlmevalkit", [f"{CHOICE}\tsplit", "1\ta\tx\ty\tA\ttest"], "'split' must be one of dev, validation"),
        ("mmbench_test_en_v11", [CHOICE, "x1\ta\tx\ty\tA"], "'index' must be a number, not 'x1'"),
        ("mmstar", [CHOICE, "1\ta\tx\ty\tA", "1\tb\tx\ty\tA"], "id '1' occurs twice"),
        ("ocrbench", ["index\tquestion\tanswer\tcategory", "1\ta\t['x']\tOCR"], "'category' must be one of"),
        ("ocrbench", ["index\tquestion\tanswer\tcategory", "1\ta\t[x]\tDoc-oriented VQA"], "'answer' is not a Python"),
        ("hallusionbench", ["index\tquestion\tanswer", "VD_1_2\ta\tYes"], "'index' must have six parts"),
        ("hallusionbench", ["index\tquestion\tanswer", "VD_a_1_0_0_0\ta\tYes"], "no key 'l2-category'"),
        ("mmvet_turbo", ["index\tquestion\tanswer", "1\ta\tx"], "no key 'category'"),
        (
            "mathvista_testmini",
            ["index\tquestion\tquestion_type\tanswer_type\tchoices", "1\ta\tmulti_choice\ttext\t['a' 3]"],
            "'choices' is not a Python list: ['a' 3]",
        ),
        (
            "mathvista_testmini",
            ["index\tquestion\tquestion_type\tanswer_type", "1\ta\tfree_form\tword"],
            "'answer_type' must be one of text, integer, float, list, not 'word'",
        ),
        (
            "mathvista_testmini",
            ["index\tquestion\tquestion_type\tanswer_type\tanswer\tprecision", "1\ta\tfree_form\tfloat\t1.5\tmany"],
            "'precision' must be one of",
        ),
    ],
)  # fmt: skip
def test_a_malformed_benchmark_file_is_one_line(name: str, lines: list[str], problem: str, write: Write) -> None:
    task = TASKS[name]
    root = write(*lines, name=task.files[0])
    with pytest.raises(UsageError) as raised:
        list(task.load(root))
    assert problem in str(raised.value)
    assert Path(task.files[0]).name in str(raised.value) and "\n" not in str(raised.value)


def test_without_gold_answers_the_samples_still_load(write: Write) -> None:
    task = TASKS["mmbench_test_en_v11"]
    (sample,) = task.load(write("index\tquestion\tA\tB", "1000001\tWhich?\tx\ty", name=task.files[0]))
    assert isinstance(sample, Sample)
    assert (sample.references, sample.group) == ((), "1")
