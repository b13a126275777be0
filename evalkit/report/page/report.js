// The list of samples, one sample, the tasks, the keys. Follows media.js in the same script.
(() => {
  const ROW = 64;
  const MARGIN = 8;
  const { $, el, uri, mediaView } = media;
  const content = JSON.parse(document.getElementById("content").textContent);
  const state = { task: null, filters: new Set(), subset: "", words: "", sort: "order", shown: [], at: 0 };
  const number = (value, digits = 1) => (value === null || value === undefined ? "-" : value.toFixed(digits));

  // --- What a sample is -------------------------------------------------------------------------------------------
  const FAILED = new Set(["media_error", "model_error", "missing"]);
  const FILTERS = [
    ["right", "Right", (s) => s.value >= 1 && s.value !== null],
    ["partly", "Partly right", (s) => s.value > 0 && s.value < 1],
    ["wrong", "Wrong", (s) => s.value !== null && s.value <= 0],
    ["unparsed", "Unparsed", (s) => s.outcome === "unparsed"],
    ["truncated", "Truncated", (s) => s.outcome === "truncated"],
    ["failed", "No answer", (s) => FAILED.has(s.outcome)],
    ["disagree", "Official and fixed disagree", (s) => s.fixed !== null && s.fixed !== s.value],
    ["worse", "Worse than the other run", (s) => s.change < 0],
    ["better", "Better than the other run", (s) => s.change > 0],
    ["pictured", "With picture", (s) => s.media.some((m) => m.pictures.length)],
  ];
  const SORTS = [
    ["order", "Order of the data", (s) => s.place],
    ["low", "Lowest score first", (s) => s.value ?? 2],
    ["high", "Highest score first", (s) => -(s.value ?? -1)],
    ["iou", "Lowest IoU first", (s) => (s.boxes ? s.boxes.iou : 2)],
    ["long", "Longest answer first", (s) => -s.response.length],
    ["tiles", "Most tiles first", (s) => -s.tiles],
    ["change", "Largest change first", (s) => -Math.abs(s.change ?? 0)],
  ];

  function verdict(s) {
    if (FAILED.has(s.outcome)) return ["!", "no answer", "bad"];
    const odd = { unparsed: ["?", "unparsed", "odd"], truncated: ["…", "truncated", "odd"] }[s.outcome];
    if (s.value === null) return odd || ["–", "no label", "soft"];
    if (s.value >= 1) return ["✓", odd ? `right, ${s.outcome}` : "right", "good"];
    if (odd) return odd;
    return s.value > 0 ? ["◐", `partly ${s.value.toFixed(2)}`, "odd"] : ["✗", "wrong", "bad"];
  }

  function prepare(task) {
    if (task.ready) return;
    task.samples.forEach((s, place) => {
      s.place = place;
      s.change = s.base && s.base.value !== null && s.value !== null ? s.value - s.base.value : null;
      s.text = [s.id, s.prompt, s.response, s.answer ?? "", ...s.references, s.subset ?? ""].join("\n").toLowerCase();
    });
    task.ready = true;
  }

  // --- One sample -------------------------------------------------------------------------------------------------
  function block(title, text) {
    return el("div", {}, el("h3", {}, title), el("pre", { tabindex: "0" }, text === "" || text === null ? "(empty)" : text));
  }

  function boxLegend(boxes) {
    const none = boxes.predicted ? "" : "no box in the answer";
    return el("p", { class: "legend" },
      el("span", {}, el("i"), "reference (solid)"), el("span", {}, el("i", { class: "dash" }), none || "predicted (dashed)"),
      el("b", {}, `IoU ${boxes.iou.toFixed(3)}`), boxes.iou >= content.iou ? `at least ${content.iou}: counts` : `below ${content.iou}: does not count`);
  }

  function facts(s) {
    const list = el("dl");
    const add = (name, value) => {
      if (value !== null && value !== undefined && value !== "") list.append(el("dt", {}, name), el("dd", {}, String(value)));
    };
    add("outcome", s.reason ? `${s.outcome}: ${s.reason}` : s.outcome);
    add("score of this sample", s.value === null ? "labels are hidden" : number(s.value, 3));
    if (s.fixed !== null && s.fixed !== s.value) add("with the fixed scorer", number(s.fixed, 3));
    add("sub-task or category", s.subset);
    add("rotation of question", s.unit);
    add("media group", s.group);
    add("tiles", s.tiles || null);
    add("prompt tokens", s.tokens[0]);
    add("answer tokens", s.tokens[1]);
    return list;
  }

  function detail() {
    const pane = $("detail");
    const s = state.shown[state.at];
    pane.scrollTop = 0;
    if (!s) return pane.replaceChildren(el("p", { class: "soft" }, "No sample."));
    const [sign, word, kind] = verdict(s);
    const step = (by) => () => select(state.at + by);
    const bar = el("div", { class: "bar" },
      el("button", { type: "button", "aria-label": "previous sample", onclick: step(-1) }, "←"),
      el("button", { type: "button", "aria-label": "next sample", onclick: step(1) }, "→"),
      el("b", { class: "grow" }, `${s.id}`),
      el("span", { class: kind }, `${sign} ${word}`),
      el("span", { class: "soft" }, `${state.at + 1} of ${state.shown.length}`));
    const pictures = s.media.map((medium) => mediaView(s, medium));
    const parts = [bar, ...pictures];
    if (s.boxes) parts.push(boxLegend(s.boxes));
    parts.push(el("div", { class: "pair" }, block("Answer, raw", s.response), block("Answer, as parsed", s.answer ?? "nothing could be parsed")));
    parts.push(block(s.references.length === 1 ? "Reference" : `References (${s.references.length})`, s.references.join("\n") || "hidden"));
    if (s.base) {
      const change = s.change === null || s.change === 0 ? "same score" : s.change > 0 ? "this run is better" : "this run is worse";
      parts.push(block(`Answer of ${content.base} (${change})`, s.base.response));
    }
    parts.push(block(`Prompt (user turn, <image> where ${s.merged ? "the tiles of all images go" : "each image goes"})`, s.prompt), facts(s));
    pane.replaceChildren(...parts);
    return pane;
  }

  // --- The list ---------------------------------------------------------------------------------------------------
  function row(s, at) {
    const [sign, word, kind] = verdict(s);
    const shown = s.media.find((m) => m.pictures.length);
    const thumbnail = shown ? el("img", { src: uri(`t${shown.pictures[0]}`), alt: "", decoding: "async" }) : el("div", { class: "none" }, "no picture");
    const node = el("div", {
      class: "row", role: "option", id: `row${at}`, "aria-selected": String(at === state.at), "aria-setsize": state.shown.length, "aria-posinset": at + 1,
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
    if (state.shown.length) list.setAttribute("aria-activedescendant", `row${state.at}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function select(at, scroll = true) {
    if (!state.shown.length) return;
    state.at = Math.max(0, Math.min(state.shown.length - 1, at));
    const list = $("list");
    if (scroll) {
      if (state.at * ROW < list.scrollTop) list.scrollTop = state.at * ROW;
      const end = (state.at + 1) * ROW - list.clientHeight;
      if (end > list.scrollTop) list.scrollTop = end;
    }
    draw();
    detail();
    history.replaceState(null, "", `#${encodeURIComponent(state.task.name)}/${encodeURIComponent(state.shown[state.at].id)}`);
  }

  function refresh(keep = null) {
    const tests = FILTERS.filter(([key]) => state.filters.has(key)).map(([, , test]) => test);
    const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
    state.shown = state.task.samples.filter((s) =>
      tests.every((test) => test(s)) && (!state.subset || s.subset === state.subset) && words.every((word) => s.text.includes(word)));
    const key = SORTS.find(([name]) => name === state.sort)[2];
    state.shown.sort((a, b) => key(a) - key(b) || a.place - b.place);
    $("spacer").style.height = `${state.shown.length * ROW}px`;
    $("empty").hidden = state.shown.length > 0;
    $("count").textContent = `${state.shown.length} of ${state.task.samples.length}`;
    const at = keep === null ? 0 : state.shown.findIndex((s) => s.id === keep);
    $("list").scrollTop = 0;
    state.at = 0;
    if (state.shown.length) select(Math.max(0, at));
    else { draw(); detail(); }
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
      return other && !content.base ? null : button;
    });
    $("chips").replaceChildren(...nodes.filter(Boolean));
  }

  // --- One task ---------------------------------------------------------------------------------------------------
  function scoreLine(task) {
    const n = task.n === task.expected_n ? `n ${task.n}` : `partial: n ${task.n} of ${task.expected_n}`;
    const digits = Math.min(1, task.decimals);
    const score = task.score === null ? "no local labels" : `${number(task.score, task.decimals)}`;
    const ci = task.ci95 ? ` 95% [${number(task.ci95[0], digits)}, ${number(task.ci95[1], digits)}]` : "";
    const fixed = task.fixed_score === null ? "" : ` · fixed scorer ${number(task.fixed_score, task.decimals)}`;
    const more = Object.entries(task.metrics).map(([name, found]) => ` · ${name} ${number(found.score, task.decimals)}`).join("");
    const outcomes = Object.entries(task.outcomes).filter(([, count]) => count).map(([name, count]) => `${count} ${name}`).join(", ");
    return `${task.metric} ${score}${ci}${fixed}${more} · ${n} · ${outcomes}`;
  }

  function bars(task) {
    const names = Object.keys(task.subsets);
    const box = $("subsets");
    box.hidden = !names.length;
    const grid = el("div", { class: "bars" });
    for (const name of names) {
      const { score, n, maximum = task.maximum } = task.subsets[name];
      const fill = el("div", { class: "fill" });
      fill.style.width = `${Math.max(0, Math.min(100, maximum ? 100 * score / maximum : 0))}%`;
      const pick = el("button", { type: "button", onclick: () => { $("subset").value = name; state.subset = name; refresh(); } }, name);
      grid.append(pick, el("div", { class: "track", "aria-hidden": "true" }, fill), el("span", {}, `${number(score, Math.min(1, task.decimals))} (n ${n})`));
    }
    $("bars").replaceChildren(grid);
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
    prepare(task);
    Object.assign(state, { filters: new Set(), subset: "", words: "", sort: "order" });
    $("search").value = "";
    $("sort").value = "order";
    $("task-name").textContent = task.name;
    $("task-score").textContent = scoreLine(task);
    $("task-note").textContent = task.note;
    $("task-note").hidden = !task.note;
    $("tools-boxes").hidden = !task.samples.some((s) => s.boxes);
    bars(task);
    chips();
    refresh(id);
  }

  function navigation() {
    const entry = (name, label, score) => el("button", { type: "button", "data-task": name, title: label, onclick: () => { history.replaceState(null, "", `#${encodeURIComponent(name)}`); open(name); } },
      el("span", {}, label), el("span", {}, score));
    $("nav").replaceChildren(entry("", "Summary", ""), ...content.tasks.map((task) => entry(task.name, task.name, number(task.score, Math.min(1, task.decimals)))));
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
