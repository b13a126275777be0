"""What tests of the HTML report share: steps in the page, and checks of everything that it shows."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

CONTRAST = """
const lum = (c) => {
  const v = c.map((x) => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; });
  return .2126 * v[0] + .7152 * v[1] + .0722 * v[2];
};
const rgb = (t) => t.match(/[\\d.]+/g).map(Number);
const back = (n) => {
  for (; n; n = n.parentElement) {
    const c = rgb(getComputedStyle(n).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3);
  }
  return [255, 255, 255];
};
const text = (n) => [...n.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
return [...document.querySelectorAll('body *')].filter((n) => n.offsetParent && !n.disabled && text(n)).map((n) => {
  const [a, b] = [lum(rgb(getComputedStyle(n).color).slice(0, 3)), lum(back(n))];
  return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), n.textContent.slice(0, 40)];
}).filter(([ratio]) => ratio < 4.5);
"""
NAMELESS = """
const all = document.querySelectorAll('button, input, select, [role=listbox], [role=option], dialog, img');
const named = (n) => n.textContent.trim() || ['aria-label', 'aria-labelledby', 'alt'].some((a) => n.hasAttribute(a));
return [...all].filter((n) => !named(n)).map((n) => n.outerHTML);
"""


def task_of(content: dict[str, Any], name: str) -> dict[str, Any]:
    return next(task for task in content["tasks"] if task["name"] == name)


def log(browser: Any, kind: str) -> list[dict[str, Any]]:
    """Return what Chromium logged since the last call: ``browser`` (the console) or ``performance`` (requests)."""
    return list(browser.get_log(kind))


def open_task(tab: Chrome, name: str) -> None:
    tab.find_element(By.CSS_SELECTOR, f'nav button[data-task="{name}"]').click()


def shown(tab: Chrome) -> list[str]:
    """Return the labels of the rows in the list, in order."""
    rows = tab.find_elements(By.CSS_SELECTOR, "#spacer .row")
    return [str(row.get_attribute("aria-label")).split(": ")[0] for row in rows]


def press(tab: Chrome, *keys: str) -> None:
    for key in keys:
        tab.find_element(By.ID, "list").send_keys(key)


def current(tab: Chrome) -> str:
    return tab.find_element(By.CSS_SELECTOR, "#detail .bar b").text


def go(tab: Chrome, task: str, sample: str) -> None:
    """Open a sample by its address."""
    address = f"{tab.current_url.split('#')[0]}#{task}/{quote(sample, safe='')}"
    tab.get("about:blank")
    tab.get(address)
    assert current(tab) == sample


def texts(tab: Chrome, selector: str) -> list[str]:
    """Return the text that each element holds, shown or not, without loss of blanks."""
    return [str(one.get_property("textContent")) for one in tab.find_elements(By.CSS_SELECTOR, selector)]


def facts(tab: Chrome) -> dict[str, str]:
    return dict(zip(texts(tab, "#detail dt"), texts(tab, "#detail dd"), strict=True))
