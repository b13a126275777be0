"""The HTML report: self-contained, safe against hostile answers, true to the run, and usable; looked at in Chromium."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from evalkit.cli.main import main
from evalkit.data.root import DataRoot
from evalkit.media.load import frame_times
from evalkit.records import Media, View
from evalkit.report.page import data_json, report_page
from tests.conftest import HOSTILE_ANSWERS
from tests.report_page import CONTRAST, NAMELESS, current, log, open_task, press, shown, task_of, texts

GROUNDING = "refcoco_val"
REFERENCE, PREDICTED = (0, 114, 178), (213, 94, 0)


@pytest.fixture(scope="module")
def report(gold_run: Path, other_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "r.html"
    assert main(["report", str(gold_run), "--against", str(other_run), "--out", str(out)]) in (0, 3)
    return out


@pytest.fixture(scope="module")
def content(report: Path) -> dict[str, Any]:
    """What the page's script reads."""
    (block,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', report.read_text(), re.DOTALL)
    return dict(json.loads(block))


def scores(run: Path, task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / task / "scores.jsonl").read_text().split("\n")[:-1]]


# --- The file ---------------------------------------------------------------------------------------------------------


def test_the_file_says_what_the_run_says(content: dict[str, Any], gold_run: Path, other_run: Path) -> None:
    stored = json.loads((gold_run / "scores.json").read_text())
    assert [task["name"] for task in content["tasks"]] == list(stored)
    for task in content["tasks"]:
        assert {key: task[key] for key in ("score", "n", "outcomes")} == {
            key: stored[task["name"]][key] for key in ("score", "n", "outcomes")
        }
        lines, others = scores(gold_run, task["name"]), scores(other_run, task["name"])
        answers = (gold_run / task["name"] / "predictions.jsonl").read_text().split("\n")[:-1]
        for sample, line, other, answer in zip(task["samples"], lines, others, answers, strict=True):
            assert {key: sample[key] for key in ("id", "value", "fixed", "answer", "outcome")} == {
                key: line[key] for key in ("id", "value", "fixed", "answer", "outcome")
            }
            assert sample["response"] == json.loads(answer)["response"]
            assert sample["base"]["value"] == other["value"]
            assert "<image>" in sample["prompt"] and sample["media"][0]["pictures"]


def test_hostile_text_is_nowhere_markup(report: Path, content: dict[str, Any]) -> None:
    text = report.read_text()
    assert [sample["response"] for sample in task_of(content, GROUNDING)["samples"][:5]] == list(HOSTILE_ANSWERS)
    assert "<script>window.ran" not in text and "<img src=x" not in text and "<!--" not in text
    assert data_json("</script><!-- & \u2028") == '"\\u003c/script\\u003e\\u003c!-- \\u0026 \\u2028"'
    assert data_json("\u2028").isascii()


def test_the_policy_allows_this_script_and_no_network(report: Path) -> None:
    text = report.read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:" and "unsafe" not in policy
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'"
    links = re.findall(r'(?:src|href|action)="([^"]*)"', re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
    assert links and all(link.startswith(("data:", "#")) for link in links)


def test_pictures_are_capped_and_what_is_left_out_is_said(
    gold_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.report.page.image", lambda plot, output, theme: b"")  # slow, and tested elsewhere
    out = tmp_path / "r.html"
    main(["report", str(gold_run), "--images", "3", "--out", str(out)])
    text = out.read_text()
    content = json.loads(re.findall(r'id="content">(.*?)</script>', text, re.DOTALL)[0])
    media = [medium for task in content["tasks"] for sample in task["samples"] for medium in sample["media"]]
    held = {tuple(medium["pictures"]) for medium in media if medium["pictures"]}
    assert len(held) == 3
    (said,) = set(re.findall(r"this file holds the pictures of 3 of (\d+) images and videos", text))
    assert int(said) > 20
    bare = [medium for medium in media if not medium["pictures"]]
    assert bare and all("is left out" in medium["why"] for medium in bare)
    notes = {task["name"]: task["note"] for task in content["tasks"]}
    assert re.match(r"\d+ of \d+ samples are shown without their picture", notes[GROUNDING])
    with Image.open(io.BytesIO(base64.b64decode(re.findall(r'id="p0">([^<]*)<', text)[0]))) as picture:
        assert max(picture.size) <= 1024


def test_absent_data_is_one_line(gold_run: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "data").mkdir()
    assert main(["report", str(gold_run), "--data-root", str(tmp_path), "--out", str(tmp_path / "r.html")]) == 3
    assert "no data under" in capsys.readouterr().err and not (tmp_path / "r.html").exists()


# --- In a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tab(browser: Chrome, report: Path) -> Iterator[Chrome]:
    browser.set_window_size(1500, 1000)
    browser.get(report.as_uri())
    yield browser
    severe = [entry for entry in log(browser, "browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert severe == [], "the console has errors"


def test_no_hostile_answer_runs_and_no_request_leaves(tab: Chrome, content: dict[str, Any]) -> None:
    title = tab.title
    for task in content["tasks"]:
        open_task(tab, task["name"])
        for place, answer in enumerate(HOSTILE_ANSWERS):
            raw = tab.execute_script("return document.querySelector('#detail pre').textContent")
            assert raw == answer, f"{task['name']}, sample {place}"
            press(tab, "j")
    assert tab.execute_script(
        "return window.ran === undefined && document.querySelectorAll('#main script').length === 0"
    )
    assert tab.title == title and tab.find_elements(By.CSS_SELECTOR, "#main a, img[onerror]") == []
    requests = [json.loads(entry["message"])["message"] for entry in log(tab, "performance")]
    urls = [item["params"]["request"]["url"] for item in requests if item["method"] == "Network.requestWillBeSent"]
    assert urls and all(url.startswith(("file:", "data:")) for url in urls)


def apart(sample: dict[str, Any]) -> float:
    """Return the distance of the two boxes' left sides in pixels."""
    return abs(float(sample["boxes"]["predicted"][0]) - float(sample["boxes"]["reference"][0]))


def test_boxes_and_tile_grid_are_drawn_where_they_are(tab: Chrome, content: dict[str, Any]) -> None:
    open_task(tab, GROUNDING)
    samples = task_of(content, GROUNDING)["samples"]
    # A sample whose boxes overlap, but whose sides lie so far apart that both colours are visible.
    sample = max((one for one in samples if one["boxes"]["predicted"] and one["boxes"]["iou"] > 0.5), key=apart)
    press(tab, *("j" * samples.index(sample)))
    medium, boxes = sample["media"][0], sample["boxes"]
    tab.find_element(By.ID, "tools-boxes").click()
    canvas = tab.find_element(By.CSS_SELECTOR, "#detail .canvas")
    without = Image.open(io.BytesIO(canvas.screenshot_as_png)).convert("RGB")
    tab.find_element(By.ID, "tools-boxes").click()
    picture = Image.open(io.BytesIO(canvas.screenshot_as_png)).convert("RGB")
    scale = picture.width / medium["width"], picture.height / medium["height"]

    def share(image: Image.Image, box: list[float], colour: tuple[int, int, int]) -> float:
        """Return the share of points on the lower half of a box's sides that have a colour."""
        x1, y1, x2, y2 = (edge * scale[i % 2] for i, edge in enumerate(box))
        points = [(x, y1 + (y2 - y1) * part / 40) for x in (x1, x2) for part in range(20, 38)]
        inside = [(x, y) for x, y in points if 1 <= x < image.width - 1 and 1 <= y < image.height - 1]
        near = [
            max(abs(a - b) for a, b in zip(image.getpixel((int(x), int(y))), colour, strict=True)) < 40  # type: ignore[arg-type]  # RGB
            for x, y in inside
        ]
        return sum(near) / len(near)

    assert share(picture, boxes["reference"], REFERENCE) > 0.5 and share(without, boxes["reference"], REFERENCE) < 0.1
    dashes = share(picture, boxes["predicted"], PREDICTED)
    assert 0.25 < dashes < 0.9 and share(without, boxes["predicted"], PREDICTED) < 0.1, "dashed, not solid"
    assert f"IoU {boxes['iou']:.3f}" in tab.find_element(By.CSS_SELECTOR, "#detail .legend").text
    columns, rows = medium["grid"]
    lines = tab.find_elements(By.CSS_SELECTOR, "#detail .grid-over")
    xs = {
        round(float(line.get_attribute("x1") or 0))
        for line in lines
        if line.get_attribute("x1") == line.get_attribute("x2")
    }
    assert len(lines) == columns + rows - 2 and xs == {round(medium["width"] * c / columns) for c in range(1, columns)}


def test_filters_search_and_sorting(tab: Chrome, gold_run: Path, other_run: Path) -> None:
    open_task(tab, GROUNDING)
    lines, others = scores(gold_run, GROUNDING), scores(other_run, GROUNDING)
    pairs = list(zip(lines, others, strict=True))
    expected = {
        "right": [line["id"] for line in lines if line["value"] == 1],
        "wrong": [line["id"] for line in lines if line["value"] == 0],
        "unparsed": [line["id"] for line in lines if line["outcome"] == "unparsed"],
        "truncated": [],
        "worse": [line["id"] for line, other in pairs if line["value"] < other["value"]],
        "better": [line["id"] for line, other in pairs if line["value"] > other["value"]],
    }
    assert expected["worse"] and expected["better"] and expected["unparsed"]
    for name, ids in expected.items():
        chip = tab.find_element(By.CSS_SELECTOR, f'[data-filter="{name}"]')
        assert chip.text.endswith(f" {len(ids)}") and chip.is_enabled() == bool(ids)
        if ids:
            chip.click()
            assert shown(tab) == ids and chip.get_attribute("aria-pressed") == "true"
            chip.click()
    tab.find_element(By.ID, "search").send_keys("onerror=")
    assert shown(tab) == [lines[2]["id"]]
    tab.find_element(By.ID, "search").send_keys("no such text")
    assert shown(tab) == [] and "No sample matches" in tab.find_element(By.ID, "list").text
    open_task(tab, GROUNDING)
    tab.execute_script("const s = document.getElementById('sort'); s.value = 'high'; s.onchange()")
    order = sorted(range(len(lines)), key=lambda place: -lines[place]["value"])
    assert shown(tab) == [lines[place]["id"] for place in order][: len(shown(tab))]


def test_keys_step_through_samples_tasks_and_pictures(tab: Chrome, content: dict[str, Any]) -> None:
    names = [task["name"] for task in content["tasks"]]
    open_task(tab, names[0])
    ids = [sample["id"] for sample in content["tasks"][0]["samples"]]
    press(tab, Keys.ARROW_DOWN, "j", "k")
    assert current(tab) == ids[1] and tab.current_url.endswith(f"#{names[0]}/{ids[1]}")
    press(tab, Keys.END)
    assert current(tab) == ids[-1]
    press(tab, Keys.HOME, "f")
    assert tab.find_element(By.ID, "viewer").is_displayed()
    tab.find_element(By.ID, "viewer").send_keys(Keys.ESCAPE)
    assert not tab.find_element(By.ID, "viewer").is_displayed()
    press(tab, "]")
    assert tab.find_element(By.ID, "task-name").text == names[1]
    press(tab, "/")
    assert tab.switch_to.active_element.get_attribute("id") == "search"
    tab.get(tab.current_url.split("#")[0] + f"#{names[0]}/{ids[3]}")
    tab.refresh()
    assert current(tab) == ids[3], "an address leads to its sample"


def test_frames_have_their_times(tab: Chrome, content: dict[str, Any], demo: Path) -> None:
    open_task(tab, "mvbench")
    sample = task_of(content, "mvbench")["samples"][0]
    (medium,) = sample["media"]
    times = [item.text for item in tab.find_elements(By.CSS_SELECTOR, "#detail .strip .when")]
    record = json.loads((demo / "data/MVBench/json/action_sequence.json").read_text())[0]
    media = Media(medium["path"], "video", record["start"], record["end"])
    expected = frame_times(View(media, 448, 1, True, 16, "segment_middle"), DataRoot(demo))
    assert times == [f"{second:.2f} s · frame {index}" for index, second in expected] and len(times) == 16
    images = tab.find_elements(By.CSS_SELECTOR, "#detail .strip img")
    assert all(
        tab.execute_script("return arguments[0].complete && arguments[0].naturalWidth > 0", one) for one in images
    )


def test_rotations_of_a_question_are_shown_together(tab: Chrome, gold_run: Path) -> None:
    lines = scores(gold_run, "mmbench_test_en")
    line = next(one for one in lines if [other["unit"] for other in lines].count(one["unit"]) > 1)
    rotations = [one["id"] for one in lines if one["unit"] == line["unit"]]
    open_task(tab, "mmbench_test_en")
    press(tab, *("j" * lines.index(line)))
    assert texts(tab, ".set b") == rotations and current(tab) == line["id"]
    count = f"{len(rotations)} samples"  # its labels are hidden
    assert texts(tab, ".set > div") == [f"Same question, rotated: {line['unit']} · {count}"]


SCROLL = """
const done = arguments[0], list = document.getElementById('list');
let step = 0, worst = 0, last = performance.now();
const next = () => {
  const now = performance.now();
  worst = Math.max(worst, now - last);
  last = now;
  if (++step > 60) return done(worst);
  list.scrollTop = list.scrollHeight * step / 60;
  requestAnimationFrame(next);
};
requestAnimationFrame(next);
"""


@pytest.mark.parametrize("width", [1500, 480])
def test_both_colour_schemes_are_legible_and_nothing_overflows(tab: Chrome, width: int) -> None:
    tab.set_window_size(width, 1000)
    backgrounds = set()
    for _ in range(2):
        for task in ("", GROUNDING, "mvbench"):
            open_task(tab, task)
            assert tab.execute_script(CONTRAST) == [], "text with less than 4.5:1"
            assert tab.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        backgrounds.add(tab.execute_script("return getComputedStyle(document.body).backgroundColor"))
        tab.find_element(By.ID, "theme").click()
    assert len(backgrounds) == 2


def test_controls_have_names(tab: Chrome) -> None:
    open_task(tab, GROUNDING)
    assert tab.execute_script(NAMELESS) == []
    row = tab.find_element(By.CSS_SELECTOR, '.row[aria-selected="true"]')
    assert tab.find_element(By.ID, "list").get_attribute("aria-activedescendant") == row.get_attribute("id")


def test_five_thousand_samples_stay_smooth(browser: Chrome, content: dict[str, Any], tmp_path: Path) -> None:
    task = task_of(content, GROUNDING)
    samples = [dict(task["samples"][n % len(task["samples"])], id=f"n{n}") for n in range(5000)]
    out = tmp_path / "many.html"
    many = content | {"tasks": [task | {"samples": samples}]}
    out.write_text(report_page("many", "", [], [], many, {}), encoding="utf-8")
    browser.get(out.as_uri() + f"#{GROUNDING}")
    assert tab_count(browser) == "5000 of 5000"
    # A page of 5,000 rows would take seconds a frame; the bound leaves room for a busy machine.
    slowest = browser.execute_async_script(SCROLL)
    assert slowest < 1000, f"a frame took {slowest:.0f} ms"
    rows = browser.find_elements(By.CSS_SELECTOR, "#spacer .row")
    assert 5 < len(rows) < 60 and shown(browser)[-1] == "n4999", "only rows in sight are in the page"
    browser.find_element(By.ID, "search").send_keys("n4321")
    assert shown(browser) == ["n4321"]
    assert [entry for entry in log(browser, "browser") if entry["level"] == "SEVERE"] == []


def tab_count(browser: Chrome) -> str:
    return browser.find_element(By.ID, "count").text
