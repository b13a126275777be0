// One sample: its verdict, its set, its answers, the judge's exchange, its prompt. Between media.js and report.js in the same script.
const sample = (() => {
  const { el, number, mediaViews } = media;
  const FAILED = new Set(["media_error", "model_error", "missing"]);
  const MEMBERS = 60;
  const FATES = {
    counts: ["✓", "counts", "good"],
    unusable: ["✗", "cannot be read", "bad"],
    failed: ["!", "failed or empty", "bad"],
    unread: ["–", "requested but never read, as by the official code", "soft"],
    unused: ["–", "not used: the retry rule ends before it", "soft"],
  };
  let requestOpen = false;

  function verdict(s) {
    if (FAILED.has(s.outcome)) return ["!", "no answer", "bad"];
    if (s.outcome === "unjudged") return ["○", "unjudged", "odd"];
    const odd = { unparsed: ["?", "unparsed", "odd"], truncated: ["…", "truncated", "odd"] }[s.outcome];
    if (s.value === null) return odd || ["–", "no label", "soft"];
    if (s.value >= 1) return ["✓", odd ? `right, ${s.outcome}` : s.value > 1 ? `right ${s.value.toFixed(2)}` : "right", "good"];
    if (odd) return odd;
    return s.value > 0 ? ["◐", `partly ${s.value.toFixed(2)}`, "odd"] : ["✗", "wrong", "bad"];
  }

  // Adds to a task's samples what the list sorts and searches by, and finds the samples of each set.
  function prepare(task) {
    if (task.ready) return;
    task.members = new Map();
    task.samples.forEach((s, place) => {
      s.place = place;
      s.change = s.base && s.base.value !== null && s.value !== null ? s.value - s.base.value : null;
      const keys = Object.values(s.keys);
      s.text = [s.id, s.prompt, s.response, s.answer ?? "", ...s.references, ...s.subsets, ...keys].join("\n").toLowerCase();
      for (const set of s.sets) {
        const key = JSON.stringify(set);
        if (!task.members.has(key)) task.members.set(key, []);
        task.members.get(key).push(s);
      }
    });
    task.ready = true;
  }

  function block(title, text) {
    return el("div", {}, el("h3", {}, title), el("pre", { tabindex: "0" }, text === "" || text === null ? "(empty)" : text));
  }

  function sets(task, s, visit) {
    const shown = s.sets.map((set) => [set, task.members.get(JSON.stringify(set))]).filter(([, members]) => members.length > 1);
    return shown.map(([[name, value], members]) => {
      const first = Math.max(0, Math.min(members.indexOf(s) - MEMBERS / 2, members.length - MEMBERS));
      const chips = members.slice(first, first + MEMBERS).map((one) => {
        const [sign, word, kind] = verdict(one);
        return el("li", {}, el("button", { type: "button", "aria-current": one === s ? "true" : null, title: one.question, onclick: () => visit(one) },
          el("span", { class: kind }, `${sign} ${word}`), " ", el("b", {}, one.id), " ", one.question));
      });
      const right = members.filter((one) => one.value >= 1).length;
      const labelled = members.some((one) => one.value !== null);
      const count = (labelled ? `${right} of ${members.length} right` : `${members.length} samples`) + (members.length > chips.length ? `, ${chips.length} shown` : "");
      return el("section", { class: "set", "aria-label": `samples with the same ${name}` },
        el("div", { class: "soft" }, `Same ${name}: ${value} · ${count}`), el("ul", {}, ...chips));
    });
  }

  function boxLegend(boxes, least) {
    return el("p", { class: "legend" },
      el("span", {}, el("i"), "reference (solid)"), el("span", {}, el("i", { class: "dash" }), boxes.predicted ? "predicted (dashed)" : "no box in the answer"),
      el("b", {}, `IoU ${boxes.iou.toFixed(3)}`), boxes.iou >= least ? `at least ${least}: counts` : `below ${least}: does not count`);
  }

  function reply(task, s, one, place) {
    const [sign, word, kind] = FATES[one.fate];
    const attempt = one.attempt === null ? "" : `attempt ${one.attempt + 1}, temperature ${task.judge_rule.temperatures[one.attempt]} · `;
    return el("li", { class: one.fate },
      el("div", {}, el("b", {}, `Reply ${place + 1}`), ` · ${attempt}`, el("span", { class: kind }, `${sign} ${word}`), one.fate === "counts" ? ` as ${number(s.value, 3)}` : ""),
      one.text === null ? null : el("pre", { tabindex: "0" }, one.text === "" ? "(empty)" : one.text));
  }

  function judgement(task, s) {
    const rule = task.judge_rule;
    if (!rule || !s.judge) return [];
    const { replies, prompt, other_prompt: other } = s.judge;
    const why = s.outcome === "unjudged" ? "This answer is not judged." : "Without a judgement, the task's own scorer scored this answer.";
    const said = replies === null ? el("p", { class: "soft" }, why)
      : el("ol", { class: "replies" }, ...replies.map((one, place) => reply(task, s, one, place)));
    const request = el("details", { class: "request", ontoggle: (event) => { requestOpen = event.target.open; } },
      el("summary", {}, replies === null ? "Request to a judge (not sent)" : "Request to the judge"),
      other ? el("p", { class: "odd" }, "The record was made with another request; this is what the task asks now.") : null,
      rule.system ? block("System message", rule.system) : null, block("Prompt", prompt),
      rule.retry ? block("Appended to the prompt after the first attempt", rule.retry) : null);
    request.open = requestOpen;
    const name = replies === null ? "Judge" : `Judge: ${task.judge.name}`;
    return [el("section", { class: "judge", "aria-label": "judge" }, el("h3", {}, name), said, request)];
  }

  function facts(task, s) {
    const list = el("dl");
    const add = (name, value) => {
      if (value !== null && value !== undefined && value !== "") list.append(el("dt", {}, name), el("dd", {}, String(value)));
    };
    add("outcome", s.reason ? `${s.outcome}: ${s.reason}` : s.outcome);
    add("score of this sample", s.value === null ? "labels are hidden" : number(s.value, 3) + (s.counted ? "" : " (not counted officially)"));
    if (s.fixed !== null && s.fixed !== s.value) add("with the fixed scorer", number(s.fixed, 3));
    if (task.judge_rule && !s.judge && s.value !== null && !FAILED.has(s.outcome)) add("judge", "not asked about this answer");
    add(s.subsets.length > 1 ? "sub-tasks and categories" : "sub-task or category", s.subsets.join(" · "));
    for (const [name, value] of Object.entries(s.keys)) add(name, value);
    for (const [name, value] of s.sets) if (!Object.hasOwn(s.keys, name)) add(name, value);
    add("media group", s.group);
    add("tiles", s.tiles || null);
    add("prompt tokens", s.tokens[0]);
    add("answer tokens", s.tokens[1]);
    return list;
  }

  function base(s, name) {
    const change = s.change === null || s.change === 0 ? "same score" : s.change > 0 ? "this run is better" : "this run is worse";
    return block(`Answer of ${name} (${change})`, s.base.response);
  }

  // The parts of a sample from top to bottom.
  function parts(task, s, content, visit) {
    const marker = s.media.length ? `, <image> where ${s.merged ? "the tiles of all images go" : "each image goes"}` : "";
    return [
      ...sets(task, s, visit),
      ...mediaViews(s),
      ...(s.boxes ? [boxLegend(s.boxes, content.iou)] : []),
      el("div", { class: "pair" }, block("Answer, raw", s.response), block("Answer, as parsed", s.answer ?? (s.outcome === "unjudged" ? "not judged" : "nothing could be parsed"))),
      block(s.references.length === 1 ? "Reference" : `References (${s.references.length})`, s.references.join("\n") || "hidden"),
      ...judgement(task, s),
      ...(s.base ? [base(s, content.base)] : []),
      block(`Prompt (user turn${marker})`, s.prompt),
      facts(task, s),
    ];
  }

  return { FAILED, verdict, prepare, parts };
})();
