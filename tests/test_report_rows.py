"""The HTML report of pairs and sets, several pictures, subtitles, subsets and judged answers; looked at in Chromium."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from evalkit.cli.main import main
from evalkit.report.page import report_page
from tests.conftest import write_jsonl
from tests.report_page import CONTRAST, NAMELESS, current, facts, go, log, open_task, press, shown, task_of, texts
from tests.report_tasks import HOSTILE_NAME, PLUGIN, REPLIES, TASKS, make_run


def written(run: Path, out: Path) -> dict[str, Any]:
    """Write a run's report, without plots, and return what the page's script reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evalkit.report.page.image", lambda plot, output, theme: b"")  # slow, and tested elsewhere
        assert main(["report", str(run), "--out", str(out)]) == 3, "3: unjudged answers"
    (block,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', out.read_text(), re.DOTALL)
    return dict(json.loads(block))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def report(run: Path) -> Path:
    return run.parent / "r.html"


@pytest.fixture(scope="module")
def content(run: Path, report: Path) -> dict[str, Any]:
    return written(run, report)


@pytest.fixture
def tab(browser: Chrome, report: Path, content: dict[str, Any]) -> Iterator[Chrome]:
    browser.set_window_size(1440, 1000)
    browser.get(report.as_uri())
    yield browser
    assert [entry for entry in log(browser, "browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def sample_of(content: dict[str, Any], task: str, sample: str) -> dict[str, Any]:
    return next(one for one in task_of(content, task)["samples"] if one["id"] == sample)


# --- Pairs and sets ---------------------------------------------------------------------------------------------------


def test_the_other_sample_of_a_pair_is_one_click_away(tab: Chrome) -> None:
    go(tab, "rows_pairs", "OCR/1.png/0")
    assert texts(tab, ".set > div") == ["Same image: OCR/1.png · 1 of 2 right"]
    assert texts(tab, ".set button") == [
        "✗ wrong OCR/1.png/0 Is a 2 in the picture?",
        "✓ right OCR/1.png/1 Is a dog in the picture?",
    ]
    assert texts(tab, ".set [aria-current]") == texts(tab, ".set button")[:1]
    tab.find_elements(By.CSS_SELECTOR, ".set button")[1].send_keys(Keys.ENTER)
    assert current(tab) == "OCR/1.png/1" and texts(tab, ".set [aria-current]") == texts(tab, ".set button")[1:]
    assert tab.switch_to.active_element.get_attribute("id") == "list"
    press(tab, Keys.ARROW_UP)
    assert current(tab) == "OCR/1.png/0"


def test_each_set_of_a_sample_is_shown(tab: Chrome) -> None:
    go(tab, "rows_sets", "VD_chart_0_1_0")
    assert texts(tab, ".set > div") == ["Same figure: 0_1 · 1 of 2 right", "Same question: 0_0 · 2 of 3 right"]
    assert texts(tab, ".set:nth-of-type(1) b") == ["VD_chart_0_1_0", "VD_chart_0_1_1"]
    assert texts(tab, ".set:nth-of-type(2) b") == ["VD_chart_0_0_0", "VD_chart_0_1_0", "VD_chart_0_2_0"]
    assert {"figure": "0_1", "question": "0_0"}.items() <= facts(tab).items()


def test_a_sample_without_a_picture_has_its_set_too(tab: Chrome) -> None:
    go(tab, "rows_sets", "VD_chart_1_0_1")
    assert tab.find_elements(By.CSS_SELECTOR, "#detail figure") == []
    assert "Same figure: 1_0 · 1 of 2 right" in texts(tab, ".set > div")
    assert texts(tab, "#detail h3")[-1] == "Prompt (user turn)"


def test_a_member_that_the_filters_leave_out_is_shown_all_the_same(tab: Chrome) -> None:
    open_task(tab, "rows_pairs")
    tab.find_element(By.CSS_SELECTOR, '[data-filter="wrong"]').click()
    wrong = shown(tab)
    press(tab, "j")
    assert current(tab) == "OCR/1.png/0" == wrong[1]
    tab.find_element(By.CSS_SELECTOR, ".set button:not([aria-current])").click()
    assert current(tab) == "OCR/1.png/1" and "outside the filtered list" in texts(tab, "#detail .bar")[0]
    assert shown(tab) == wrong and tab.find_elements(By.CSS_SELECTOR, '.row[aria-selected="true"]') == []
    assert tab.find_element(By.ID, "list").get_attribute("aria-activedescendant") is None
    press(tab, "j")
    assert current(tab) == wrong[2]


def test_of_a_set_of_thousands_the_nearest_are_shown(browser: Chrome, content: dict[str, Any], tmp_path: Path) -> None:
    task = task_of(content, "rows_sets")
    one = task["samples"][0] | {"sets": [["figure", "all"]]}
    many = content | {"tasks": [task | {"samples": [one | {"id": f"n{n}"} for n in range(5000)]}]}
    out = tmp_path / "many.html"
    out.write_text(report_page("many", "", [], [], many, {}), encoding="utf-8")
    browser.get(f"{out.as_uri()}#rows_sets/n4000")
    assert texts(browser, ".set b") == [f"n{n}" for n in range(3970, 4030)]
    assert texts(browser, ".set > div") == ["Same figure: all · 5000 of 5000 right, 60 shown"]


# --- Pictures and subtitles -------------------------------------------------------------------------------------------


def test_all_pictures_of_a_question_have_their_numbers_and_tiles(tab: Chrome, content: dict[str, Any]) -> None:
    go(tab, "rows_merged", "validation_7")
    sample = sample_of(content, "rows_merged", "validation_7")
    tiles = [medium["tiles"] for medium in sample["media"]]
    assert tiles[0] > 1 and tiles[1:] == [1] * 6 and sample["tiles"] == sum(tiles)
    assert f"7 images, {sum(tiles)} tiles, one <image> marker for all" in texts(tab, "#detail > p")
    captions = texts(tab, ".gallery figcaption")
    assert [text.split(" · ")[-1] for text in captions] == [f"data/rows/{n}.png" for n in range(7)]
    assert captions[0].startswith("Image 1 200 × 150 px, enlarged 2 × before tiling · 3 × 2 tiles and the thumbnail")
    assert captions[6].startswith("Image 7 380 × 150 px · 1 × 1 tile · ")
    loaded = "return [...document.querySelectorAll('.gallery img')].map((one) => one.complete && one.naturalWidth > 0)"
    assert tab.execute_script(loaded) == [True] * 7
    go(tab, "rows_apart", "validation_3")
    prompt = texts(tab, "#detail > div:last-of-type pre")[0]
    assert prompt.startswith("<image-1>: <image> <image-2>: <image> <image-3>: <image>\n")
    assert "3 images, 21 tiles, one <image> marker each" in texts(tab, "#detail > p")


def test_the_viewer_steps_through_the_pictures_of_a_question(tab: Chrome) -> None:
    go(tab, "rows_merged", "validation_7")
    tab.find_elements(By.CSS_SELECTOR, ".gallery .canvas button")[5].click()
    title = tab.find_element(By.ID, "viewer-title")
    assert title.text == "image 6 of 7 · data/rows/5.png"
    for expected in ("image 7 of 7 · data/rows/6.png", "image 1 of 7 · data/rows/0.png"):
        tab.find_element(By.ID, "viewer").send_keys(Keys.ARROW_RIGHT)
        assert title.text == expected


def test_subtitles_keep_their_lines(tab: Chrome, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go(tab, "rows_clips", "clip-0")
    (prompt,) = (text for text in texts(tab, "#detail pre") if "subtitles" in text)
    said = "This video's subtitles are listed below:\n<i>Good evening,</i>\nand welcome back.\n"
    assert prompt == f"<image>\n<image>\n{said}Who speaks?\nA. a man\nB. a cat"
    element = next(one for one in tab.find_elements(By.CSS_SELECTOR, "#detail pre") if "subtitles" in one.text)
    assert element.text == prompt, "rendered line by line"
    capsys.readouterr()
    assert main(["show", "rows_clips", *PLUGIN, "--data-root", str(run.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["prompt"] == prompt


# --- Subsets and metrics ----------------------------------------------------------------------------------------------


def bar_rows(tab: Chrome, table: int) -> dict[str, list[str]]:
    """Return the lines of one of the tables of bars: the cells after the bar, by the first."""
    rows = tab.find_elements(By.CSS_SELECTOR, f"#bars table:nth-of-type({table}) tbody tr")
    cells = [[str(cell.get_property("textContent")) for cell in row.find_elements(By.XPATH, "./*")] for row in rows]
    return {name: values for name, _, *values in cells}


def test_subsets_are_bars_with_score_interval_and_n(tab: Chrome, content: dict[str, Any]) -> None:
    open_task(tab, "rows_pairs")
    tab.find_element(By.CSS_SELECTOR, "#subsets summary").click()
    task = task_of(content, "rows_pairs")
    rows = bar_rows(tab, 2)
    assert list(rows) == ["existence", "perception", "OCR", "code_reasoning", "cognition"]
    assert rows["perception"] == ["298.2", "[185.7, 385.7]", "16", "298.2 [185.7, 385.7]", "81.3 [62.5, 93.8]"]
    assert rows["cognition"][1:4] == ["all resamples are equal", "8", "-"], "no interval; no part of perception"
    found = task["subsets"]["OCR"]
    bar = tab.find_element(By.CSS_SELECTOR, "#bars table:nth-of-type(2) tbody tr:nth-child(3)")
    edges = [float(bar.find_element(By.CSS_SELECTOR, f".{name}").rect["width"]) for name in ("track", "fill", "ci")]
    assert edges[1] / edges[0] == pytest.approx(found["score"] / found["maximum"], abs=0.02)
    assert edges[2] / edges[0] == pytest.approx((found["ci95"][1] - found["ci95"][0]) / found["maximum"], abs=0.02)


def test_further_metrics_have_intervals_and_their_own_scale(tab: Chrome, content: dict[str, Any]) -> None:
    open_task(tab, "rows_pairs")
    expected = (
        "points 498.21 95% [385.7, 600.0] · perception 298.21 95% [185.7, 400.0] · accuracy 87.50 95% [75.0, 100.0]"
    )
    assert tab.find_element(By.ID, "task-score").text == f"{expected} · n 24 · 23 ok, 1 unparsed"
    assert bar_rows(tab, 1)["perception"] == ["298.2", "[185.7, 400.0]"]
    assert task_of(content, "rows_pairs")["metrics"]["perception"]["maximum"] == 600
    open_task(tab, "rows_sets")
    assert list(bar_rows(tab, 1)) == ["avg", "aAcc", "fAcc", "qAcc"]
    assert " · n 12 of ? · " in tab.find_element(By.ID, "task-score").text


def test_a_sample_is_found_by_each_of_its_subsets(tab: Chrome) -> None:
    open_task(tab, "rows_rated")
    picker = Select(tab.find_element(By.ID, "subset"))
    assert [option.text for option in picker.options] == ["all sub-tasks", "rec", "ocr"]
    picker.select_by_value("ocr")
    assert shown(tab) == ["v1_1", "v1_3", "v1_5", "v1_7"]
    assert facts(tab)["sub-tasks and categories"] == "rec · ocr"
    tab.find_element(By.CSS_SELECTOR, "#subsets summary").click()
    tab.find_element(By.XPATH, "//*[@id='bars']//button[text()='rec']").click()
    assert len(shown(tab)) == 8 and picker.first_selected_option.text == "rec"


def test_names_of_subsets_are_text(tab: Chrome) -> None:
    open_task(tab, "rows_sets")
    names = ["VD", f"{HOSTILE_NAME} 0", "VS", f"{HOSTILE_NAME} 1"]
    assert list(bar_rows(tab, 2)) == names and texts(tab, "#subset option")[1:] == names
    assert tab.find_elements(By.CSS_SELECTOR, "#task img:not([alt])") == []


def test_answers_that_leave_the_official_mean_are_marked(tab: Chrome, content: dict[str, Any]) -> None:
    open_task(tab, "rows_clips")
    chip = tab.find_element(By.CSS_SELECTOR, '[data-filter="uncounted"]')
    assert chip.text == "Not counted officially 1"
    chip.click()
    assert shown(tab) == ["clip-1"] and facts(tab)["score of this sample"] == "0.000 (not counted officially)"
    others = [one for task in content["tasks"] for one in task["samples"] if one["id"] != "clip-1"]
    assert all(one["counted"] for one in others)
    open_task(tab, "rows_pairs")
    assert tab.find_elements(By.CSS_SELECTOR, '[data-filter="uncounted"]') == []


# --- Judges -----------------------------------------------------------------------------------------------------------


def test_each_reply_of_a_judge_has_its_fate(content: dict[str, Any]) -> None:
    fates = {
        one["id"]: one["judge"] and one["judge"]["replies"] and [reply["fate"] for reply in one["judge"]["replies"]]
        for one in task_of(content, "rows_rated")["samples"]
    }
    assert fates == {
        "v1_0": None,
        "v1_1": ["counts"],
        "v1_2": ["failed", "unusable", "unusable", "unread"],
        "v1_3": ["failed", "counts", "unused"],
        "v1_4": ["unusable", "counts"],
        "v1_5": ["unusable", "unusable", "unread"],
        "v1_6": None,
        "v1_7": None,
    }
    assert [reply["attempt"] for reply in sample_of(content, "rows_rated", "v1_2")["judge"]["replies"]] == [0, 0, 1, 2]


def test_the_exchange_with_a_judge_is_shown_as_text(tab: Chrome) -> None:
    go(tab, "rows_rated", "v1_2")
    assert texts(tab, ".judge h3")[0] == "Judge: clerk"
    assert texts(tab, ".replies li > div") == [
        "Reply 1 · attempt 1, temperature 0 · ! failed or empty",
        "Reply 2 · attempt 1, temperature 0 · ✗ cannot be read",
        "Reply 3 · attempt 2, temperature 0.5 · ✗ cannot be read",
        "Reply 4 · attempt 3, temperature 1 · – requested but never read, as by the official code",
    ]
    assert texts(tab, ".replies pre") == REPLIES["v1_2"][1:]
    assert (
        tab.execute_script("return window.ran === undefined")
        and tab.find_elements(By.CSS_SELECTOR, "main script") == []
    )
    request = tab.find_element(By.CSS_SELECTOR, ".request summary")
    assert not tab.find_element(By.CSS_SELECTOR, ".request pre").is_displayed()
    request.send_keys(Keys.ENTER)
    asked = ["You rate answers from 0 to 10.", "Question | Truth | Answer\n? | word 2 | a guess | ", " Only a number."]
    assert texts(tab, ".request pre") == asked and tab.find_element(By.CSS_SELECTOR, ".request pre").is_displayed()
    press(tab, "j")
    assert texts(tab, ".replies .counts > div") == ["Reply 2 · attempt 1, temperature 0 · ✓ counts as 0.300"]
    assert texts(tab, ".replies .unused > div") == ["Reply 3 · – not used: the retry rule ends before it"]
    assert tab.find_element(By.CSS_SELECTOR, ".request pre").is_displayed(), "stays open from sample to sample"


def test_what_no_judge_saw_says_so(tab: Chrome) -> None:
    go(tab, "rows_rated", "v1_6")
    assert texts(tab, ".judge > *")[:2] == ["Judge", "This answer is not judged."]
    assert texts(tab, ".request summary") == ["Request to a judge (not sent)"]
    go(tab, "rows_rated", "v1_0")
    assert tab.find_elements(By.CSS_SELECTOR, ".judge") == [] and facts(tab)["judge"] == "not asked about this answer"


def test_unjudged_is_not_wrong(tab: Chrome) -> None:
    open_task(tab, "rows_rated")
    assert tab.find_element(By.CSS_SELECTOR, '[data-filter="wrong"]').text == "Wrong 0"
    tab.find_element(By.CSS_SELECTOR, '[data-filter="unjudged"]').click()
    assert shown(tab) == ["v1_2", "v1_5", "v1_6"] and set(texts(tab, ".row .mark")) == {"○ unjudged"}
    assert "not judged" in texts(tab, "#detail .pair pre")
    open_task(tab, "rows_pairs")
    assert tab.find_elements(By.CSS_SELECTOR, '[data-filter="unjudged"]') == []


def test_the_judge_stands_beside_the_score(tab: Chrome) -> None:
    head = [one.text for one in tab.find_elements(By.CSS_SELECTOR, "#summary table:first-of-type th")][:8]
    assert head == ["task", "metric", "score", "95%", "fixed scorer", "n", "outcomes", "judge"]
    rows = tab.find_elements(By.CSS_SELECTOR, "#summary .wide:first-of-type tbody tr")
    judges = {row.find_element(By.TAG_NAME, "th").text: row.find_elements(By.TAG_NAME, "td")[-1].text for row in rows}
    assert judges["rows_rated"] == "clerk" and judges["rows_merged"] == "-"
    open_task(tab, "rows_rated")
    line = "Judge: clerk (card: gpt-4-0613) · judged 5 of the 6 answers that need it"
    assert tab.find_element(By.ID, "task-judge").text == f"{line} · replies that the retry rule does not use: 1"
    open_task(tab, "rows_pairs")
    assert not tab.find_element(By.ID, "task-judge").is_displayed()


def test_a_request_that_has_changed_since_is_said(run: Path, content: dict[str, Any], tmp_path: Path) -> None:
    judged = [one["judge"] for one in task_of(content, "rows_rated")["samples"] if one["judge"]]
    assert not any(one["other_prompt"] for one in judged)
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (shard,) = (copy / "rows_rated" / "judged" / "clerk" / "shards").glob("*.jsonl")
    lines = [json.loads(line) for line in shard.read_text().splitlines()]
    write_jsonl(shard, [line | {"prompt_sha256": "0"} if line["id"] == "v1_1" else line for line in lines])
    changed = task_of(written(copy, tmp_path / "r.html"), "rows_rated")["samples"]
    said = {one["id"]: one["judge"]["other_prompt"] for one in changed if one["judge"]}
    assert [key for key, other in said.items() if other] == ["v1_1"]


def test_replies_of_another_judge_than_the_scores_are_not_shown(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    shutil.move(copy / "rows_rated" / "judged" / "clerk", copy / "rows_rated" / "judged" / "other")
    record = copy / "rows_rated" / "judged" / "other" / "judge.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"name": "other"}))
    samples = task_of(written(copy, tmp_path / "r.html"), "rows_rated")["samples"]
    assert {one["judge"]["replies"] and one["id"] for one in samples if one["judge"]} == {None}


# --- Everywhere -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1440, 980, 390])
def test_new_parts_are_legible_named_and_inside_the_page(tab: Chrome, width: int) -> None:
    tab.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        for _ in range(2):
            tab.find_element(By.ID, "theme").click()
            for task in TASKS:
                open_task(tab, task.name)
                tab.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
                press(tab, "j")
                assert tab.execute_script(CONTRAST) == [], f"{task.name}: text with less than 4.5:1"
                assert tab.execute_script(NAMELESS) == [] and tab.execute_script("return window.ran === undefined")
                assert tab.execute_script("return document.documentElement.scrollWidth <= innerWidth"), task.name
                detail = "const d = document.getElementById('detail'); return d.scrollWidth <= d.clientWidth"
                assert tab.execute_script(detail), f"{task.name}: the sample is wider than its pane"
    finally:
        tab.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
