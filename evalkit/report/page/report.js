// The list of samples, the tasks, the keys. Follows media.js and sample.js in the same script.
(() => {
  const ROW = 64;
  const MARGIN = 8;
  const { $, el, uri, number } = media;
  const { verdict } = sample;
  const content = JSON.parse(document.getElementById("content").textContent);
  const state = { task: null, filters: new Set(), subset: "", words: "", sort: "order", shown: [], at: 0, current: null };

  // --- What is shown, and in which order --------------------------------------------------------------------------
  const FILTERS = [
    ["right", "Right", (s) => s.value >= 1 && s.value !== null],
    ["partly", "Partly right", (s) => s.value > 0 && s.value < 1],
    ["wrong", "Wrong", (s) => s.value !== null && s.value <= 0 && s.outcome !== "unjudged" && !sample.FAILED.has(s.outcome)],
    ["unparsed", "Unparsed", (s) => s.outcome === "unparsed"],
    ["unjudged", "Unjudged", (s) => s.outcome === "unjudged"],
    ["truncated", "Truncated", (s) => s.outcome === "truncated"],
    ["failed", "No answer", (s) => sample.FAILED.has(s.outcome)],
    ["uncounted", "Not counted officially", (s) => !s.counted],
    ["disagree", "Official and fixed disagree", (s) => s.fixed !== null && s.fixed !== s.value],
    ["worse", "Worse than the other run", (s) => s.change < 0],
    ["better", "Better than the other run", (s) => s.change > 0],
    ["pictured", "With picture", (s) => s.media.some((m) => m.pictures.length)],
  ];
  // These apply to few tasks: their buttons are absent where no sample is so, not just disabled.
  const RARE = new Set(["unjudged", "uncounted"]);
  const SORTS = [
    ["order", "Order of the data", (s) => s.place],
    ["low", "Lowest score first", (s) => s.value ?? 2],
    ["high", "Highest score first", (s) => -(s.value ?? -1)],
    ["iou", "Lowest IoU first", (s) => (s.boxes ? s.boxes.iou : 2)],
    ["long", "Longest answer first", (s) => -s.response.length],
    ["tiles", "Most tiles first", (s) => -s.tiles],
    ["change", "Largest change first", (s) => -Math.abs(s.change ?? 0)],
  ];

  // --- One sample -------------------------------------------------------------------------------------------------
  function detail() {
    const pane = $("detail");
    const s = state.current;
    pane.scrollTop = 0;
    if (!s) return pane.replaceChildren(el("p", { class: "soft" }, "No sample."));
    const [sign, word, kind] = verdict(s);
    const step = (by) => () => select(state.at + by);
    const bar = el("div", { class: "bar" },
      el("button", { type: "button", "aria-label": "previous sample", onclick: step(-1) }, "←"),
      el("button", { type: "button", "aria-label": "next sample", onclick: step(1) }, "→"),
      el("b", { class: "grow" }, `${s.id}`),
      el("span", { class: kind }, `${sign} ${word}`),
      el("span", { class: "soft" }, listed() ? `${state.at + 1} of ${state.shown.length}` : "outside the filtered list"));
    pane.replaceChildren(bar, ...sample.parts(state.task, s, content, visit));
  }

  // --- The list ---------------------------------------------------------------------------------------------------
  function row(s, at) {
    const [sign, word, kind] = verdict(s);
    const shown = s.media.find((m) => m.pictures.length);
    const thumbnail = shown ? el("img", { src: uri(`t${shown.pictures[0]}`), alt: "", decoding: "async" }) : el("div", { class: "none" }, "no picture");
    const node = el("div", {
      class: "row", role: "option", id: `row${at}`, "aria-selected": String(s === state.current), "aria-setsize": state.shown.length, "aria-posinset": at + 1,
      "aria-label": `${s.id}: ${word}`, onclick: () => { select(at); $("list").focus(); },
    },
      thumbnail,
      el("div", { class: "two" }, el("div", {}, s.question || s.id), el("div", { class: "answer" }, s.response.trim() || "(empty)")),
      el("div", { class: `mark ${kind}` }, `${sign} ${word}`));
    node.style.top = `${at * ROW}px`;
    return node;
  }

  function draw() {
    const list = $("list");
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - MARGIN);
    const last = Math.min(state.shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + MARGIN);
    const rows = [];
    for (let at = first; at < last; at++) rows.push(row(state.shown[at], at));
    $("spacer").replaceChildren(...rows);
    if (listed()) list.setAttribute("aria-activedescendant", `row${state.at}`);
    else list.removeAttribute("aria-activedescendant");
  }

  const listed = () => state.current !== null && state.shown[state.at] === state.current;

  function show(s) {
    state.current = s;
    draw();
    detail();
    if (s) history.replaceState(null, "", `#${encodeURIComponent(state.task.name)}/${encodeURIComponent(s.id)}`);
  }

  function select(at) {
    if (!state.shown.length) return;
    state.at = Math.max(0, Math.min(state.shown.length - 1, at));
    const list = $("list");
    if (state.at * ROW < list.scrollTop) list.scrollTop = state.at * ROW;
    const end = (state.at + 1) * ROW - list.clientHeight;
    if (end > list.scrollTop) list.scrollTop = end;
    show(state.shown[state.at]);
  }

  // Another sample of a set: the filters stay, even if they leave it out of the list.
  function visit(s) {
    const at = state.shown.indexOf(s);
    if (at < 0) show(s);
    else select(at);
    $("list").focus();
  }

  function refresh(keep = null) {
    const tests = FILTERS.filter(([key]) => state.filters.has(key)).map(([, , test]) => test);
    const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
    state.shown = state.task.samples.filter((s) =>
      tests.every((test) => test(s)) && (!state.subset || s.subsets.includes(state.subset)) && words.every((word) => s.text.includes(word)));
    const key = SORTS.find(([name]) => name === state.sort)[2];
    state.shown.sort((a, b) => key(a) - key(b) || a.place - b.place);
    $("spacer").style.height = `${state.shown.length * ROW}px`;
    $("empty").hidden = state.shown.length > 0;
    $("count").textContent = `${state.shown.length} of ${state.task.samples.length}`;
    const at = keep === null ? 0 : state.shown.findIndex((s) => s.id === keep);
    $("list").scrollTop = 0;
    state.at = 0;
    if (state.shown.length) select(Math.max(0, at));
    else show(null);
  }

  function chips() {
    const nodes = FILTERS.map(([key, label, test]) => {
      const count = state.task.samples.filter(test).length;
      const button = el("button", { type: "button", "data-filter": key, "aria-pressed": String(state.filters.has(key)) }, `${label} ${count}`);
      button.disabled = !count && !state.filters.has(key);
      button.onclick = () => {
        if (!state.filters.delete(key)) state.filters.add(key);
        button.setAttribute("aria-pressed", String(state.filters.has(key)));
        refresh();
      };
      const other = key === "worse" || key === "better";
      return (other && !content.base) || (RARE.has(key) && !count) ? null : button;
    });
    $("chips").replaceChildren(...nodes.filter(Boolean));
  }

  // --- One task ---------------------------------------------------------------------------------------------------
  // Digits of a score next to others; points of a short scale (0 to 3) need all of theirs.
  const fewDigits = (decimals, maximum) => (maximum < 10 ? decimals : Math.min(1, decimals));
  const interval = (ci95, digits) => (ci95 ? `[${number(ci95[0], digits)}, ${number(ci95[1], digits)}]` : "");

  function scoreLine(task) {
    const official = task.expected_n === null ? `n ${task.n} of ?` : `partial: n ${task.n} of ${task.expected_n}`;
    const n = task.n === task.expected_n ? `n ${task.n}` : official;
    const measured = (name, { score, ci95, decimals = task.decimals, maximum = task.maximum }) =>
      `${name} ${number(score, decimals)}${ci95 ? ` 95% ${interval(ci95, fewDigits(decimals, maximum))}` : ""}`;
    const score = task.score === null ? `${task.metric} no local labels` : measured(task.metric, task);
    const fixed = task.fixed_score === null ? [] : [`fixed scorer ${number(task.fixed_score, task.decimals)}`];
    const more = Object.entries(task.metrics).map(([name, found]) => measured(name, found));
    const outcomes = Object.entries(task.outcomes).filter(([, count]) => count).map(([name, count]) => `${count} ${name}`).join(", ");
    // Lines break between these, not inside an interval.
    return [score, ...fixed, ...more, n, outcomes].flatMap((part, place) => [place ? " · " : "", el("span", {}, part)]);
  }

  function judgeLine({ judge }) {
    if (!judge) return "";
    const other = judge.name === judge.card ? "" : ` (card: ${judge.card})`;
    const unused = judge.unused_replies ? ` · replies that the retry rule does not use: ${judge.unused_replies}` : "";
    const judged = judge.asked ? `judged ${judge.judged} of the ${judge.asked} answers that need it` : "no answer needs it";
    return `${judge.name ? `Judge: ${judge.name}` : "No judge"}${other} · ${judged}${unused}`;
  }

  function track({ score, ci95, maximum }) {
    const percent = (value) => Math.max(0, Math.min(100, maximum ? (100 * value) / maximum : 0));
    const fill = el("div", { class: "fill" });
    fill.style.width = `${percent(score)}%`;
    const whisker = ci95 ? el("div", { class: "ci" }) : null;
    if (whisker) Object.assign(whisker.style, { left: `${percent(ci95[0])}%`, width: `${percent(ci95[1]) - percent(ci95[0])}%` });
    return el("td", { "aria-hidden": "true" }, el("div", { class: "track" }, fill, whisker));
  }

  // Bars, one line each: [label, a score with its interval, further cells].
  function barTable(head, lines, digits) {
    const rows = lines.map(([label, one, ...cells]) => el("tr", {}, el("th", { scope: "row" }, label), track(one),
      ...[number(one.score, digits), interval(one.ci95, digits) || one.ci95_reason || "-", ...cells].map((cell) => el("td", {}, String(cell)))));
    const titles = [head[0], null, ...head.slice(1)].map((title) => (title === null ? el("td") : el("th", { scope: "col" }, title)));
    return el("table", { class: "bars" }, el("thead", {}, el("tr", {}, ...titles)), el("tbody", {}, ...rows));
  }

  function bars(task) {
    const digits = fewDigits(task.decimals, task.maximum);
    const { metrics, subsets } = task;
    const further = Object.keys(metrics);
    const tables = [];
    if (further.length && task.score !== null) {
      const whole = [[task.metric, task], ...further.map((name) => [name, { maximum: 100, ...metrics[name] }])];
      tables.push(barTable(["metric", "score", "95%"], whole, digits));
    }
    const inner = (one) => (one ? `${number(one.score, digits)} ${interval(one.ci95, digits)}` : "-");
    const lines = Object.entries(subsets).map(([name, one]) => [
      el("button", { type: "button", onclick: () => { $("subset").value = name; state.subset = name; refresh(); } }, name),
      { maximum: task.maximum, ...one }, one.n, ...further.map((metric) => inner(one.metrics?.[metric])),
    ]);
    if (lines.length) tables.push(barTable(["sub-task", task.metric, "95%", "n", ...further], lines, digits));
    $("subsets").hidden = !tables.length;
    $("bars").replaceChildren(...tables);
    // A sample may be in several subsets; without labels they have no scores, but samples can be picked by them.
    const names = [...new Set([...Object.keys(subsets), ...task.samples.flatMap((s) => s.subsets)])];
    $("subset").replaceChildren(el("option", { value: "" }, "all sub-tasks"), ...names.map((name) => el("option", { value: name }, name)));
    $("subset").hidden = !names.length;
  }

  function open(name, id = null) {
    const task = content.tasks.find((one) => one.name === name);
    for (const button of $("nav").children) {
      if (button.dataset.task === (task ? task.name : "")) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    }
    $("summary").hidden = Boolean(task);
    $("task").hidden = !task;
    state.task = task || null;
    if (!task) return;
    sample.prepare(task);
    Object.assign(state, { filters: new Set(), subset: "", words: "", sort: "order" });
    $("search").value = "";
    $("sort").value = "order";
    $("task-name").textContent = task.name;
    $("task-score").replaceChildren(...scoreLine(task));
    for (const [id, text] of [["task-judge", judgeLine(task)], ["task-note", task.note]]) {
      $(id).textContent = text;
      $(id).hidden = !text;
    }
    $("tools-boxes").hidden = !task.samples.some((s) => s.boxes);
    bars(task);
    chips();
    refresh(id);
  }

  function navigation() {
    const entry = (name, label, score) => el("button", { type: "button", "data-task": name, title: label, onclick: () => { history.replaceState(null, "", `#${encodeURIComponent(name)}`); open(name); } },
      el("span", {}, label), el("span", {}, score));
    $("nav").replaceChildren(entry("", "Summary", ""), ...content.tasks.map((task) => entry(task.name, task.name, number(task.score, fewDigits(task.decimals, task.maximum)))));
  }

  function toggle(id, className) {
    $(id).onclick = () => {
      const off = document.body.classList.toggle(className);
      $(id).setAttribute("aria-pressed", String(!off));
    };
  }

  function theme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("theme").textContent = dark ? "Light" : "Dark";
    $("theme").setAttribute("aria-label", dark ? "switch to light colours" : "switch to dark colours");
  }

  function turnTask(by) {
    const names = ["", ...content.tasks.map((task) => task.name)];
    const next = names[(names.indexOf(state.task ? state.task.name : "") + by + names.length) % names.length];
    open(next);
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if ($("viewer").open) {
      if (event.key === "ArrowLeft" && !$("viewer-steps").hidden) $("viewer-prev").click();
      if (event.key === "ArrowRight" && !$("viewer-steps").hidden) $("viewer-next").click();
      return;
    }
    if ($("help").open) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      if (event.key === "Escape") $("list").focus();
      return;
    }
    const page = Math.max(1, Math.floor($("list").clientHeight / ROW) - 1);
    const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    const task = state.task !== null;
    const inside = $("detail").contains(document.activeElement) || $("bars").contains(document.activeElement);
    if (task && event.key in moves && !(inside && event.key.length > 1)) select(state.at + moves[event.key]);
    else if (task && event.key === "/") $("search").focus();
    else if (task && event.key === "t") $("grid-toggle").click();
    else if (task && event.key === "b") $("tools-boxes").click();
    else if (task && event.key === "f") $("detail").querySelector(".canvas > button")?.click();
    else if (event.key === "]") turnTask(1);
    else if (event.key === "[") turnTask(-1);
    else if (event.key === "?") $("help").showModal();
    else return;
    event.preventDefault();
  }

  function start() {
    navigation();
    $("sort").replaceChildren(...SORTS.filter(([key]) => key !== "change" || content.base).map(([key, label]) => el("option", { value: key }, label)));
    $("sort").onchange = () => { state.sort = $("sort").value; refresh(); };
    $("subset").onchange = () => { state.subset = $("subset").value; refresh(); };
    $("search").oninput = () => { state.words = $("search").value; refresh(); };
    let waiting = false;
    $("list").addEventListener("scroll", () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    });
    window.addEventListener("resize", () => { if (state.task) draw(); });
    toggle("grid-toggle", "no-grid");
    toggle("tools-boxes", "no-boxes");
    theme(matchMedia("(prefers-color-scheme: dark)").matches);
    $("theme").onclick = () => theme(document.documentElement.dataset.theme !== "dark");
    $("help-open").onclick = () => $("help").showModal();
    for (const dialog of ["viewer", "help"]) $(`${dialog}-close`).onclick = () => $(dialog).close();
    document.addEventListener("keydown", keys);
    const follow = () => {
      const [name, id] = location.hash.slice(1).split("/").map((part) => { try { return decodeURIComponent(part); } catch { return ""; } });
      open(name || "", id ?? null);
    };
    window.addEventListener("hashchange", follow);
    follow();
  }

  start();
})();
