"use strict";
// Everything that a model or a data set says reaches the page as the text of an element (textContent), never as markup.
// Elements, and the pictures of a sample: tile grid, boxes, frames, the viewer.
const media = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const $ = (id) => document.getElementById(id);

  function el(name, options = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(options)) {
      if (key === "class") node.className = value;
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined) node.setAttribute(key, value);
    }
    for (const child of children) if (child !== null) node.append(child); // append() makes text nodes of strings
    return node;
  }

  const number = (value, digits = 1) => (value === null || value === undefined ? "-" : value.toFixed(digits));

  const uri = (id) => {
    const stored = document.getElementById(id);
    return stored ? "data:image/jpeg;base64," + stored.textContent : null;
  };

  function shape(name, attributes, className) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.setAttribute("class", className);
    return node;
  }

  function overlay(s, medium) {
    const svg = document.createElementNS(SVG, "svg");
    const [w, h] = [medium.width, medium.height];
    svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const grid = shape("g", {}, "grid");
    const [columns, rows] = medium.grid || [1, 1];
    for (const kind of ["grid-under", "grid-over"]) {
      for (let c = 1; c < columns; c++) grid.append(shape("line", { x1: (w * c) / columns, x2: (w * c) / columns, y1: 0, y2: h }, kind));
      for (let r = 1; r < rows; r++) grid.append(shape("line", { y1: (h * r) / rows, y2: (h * r) / rows, x1: 0, x2: w }, kind));
    }
    svg.append(grid);
    const boxes = shape("g", {}, "boxes");
    for (const [box, kind] of s.boxes ? [[s.boxes.reference, "reference"], [s.boxes.predicted, "predicted"]] : []) {
      if (!box) continue;
      const [x, y] = [Math.min(box[0], box[2]), Math.min(box[1], box[3])];
      const place = { x, y, width: Math.abs(box[2] - box[0]), height: Math.abs(box[3] - box[1]) };
      boxes.append(shape("rect", place, "casing"), shape("rect", place, kind));
    }
    svg.append(boxes);
    return svg;
  }

  function tags(s, medium) {
    const wrap = el("div", { class: "boxes" });
    const clip = (part) => `${Math.min(94, Math.max(0, 100 * part))}%`;
    for (const [box, kind] of s.boxes ? [[s.boxes.reference, "reference"], [s.boxes.predicted, "predicted"]] : []) {
      if (!box) continue;
      const tag = el("span", { class: `tag ${kind}` }, kind);
      tag.style.left = clip(Math.min(box[0], box[2]) / medium.width);
      tag.style.top = clip((kind === "reference" ? Math.min(box[1], box[3]) : Math.max(box[1], box[3])) / medium.height);
      if (kind === "reference") tag.style.transform = "translateY(-100%)";
      wrap.append(tag);
    }
    return wrap;
  }

  const nth = (s, medium) => (s.media.length > 1 ? `image ${s.media.indexOf(medium) + 1} of ${s.media.length}` : "image");

  function picture(s, medium, place, open) {
    const when = medium.frames.length ? `frame ${place + 1} of ${medium.frames.length}` : `${nth(s, medium)} of sample ${s.id}`;
    const img = el("img", { src: uri(`p${medium.pictures[place]}`), alt: when, decoding: "async", width: medium.width, height: medium.height });
    // Small pictures are shown some whole times larger, if they fit.
    const side = s.media.length > 1 ? 320 : 720;
    const times = Math.max(1, Math.floor(side / Math.max(medium.width, medium.height)));
    const height = s.media.length > 1 ? "26vh" : "62vh";
    if (open && !medium.frames.length) img.style.width = `min(${times * medium.width}px, calc(${height} * ${medium.width / medium.height}))`;
    const inner = open ? el("button", { type: "button", "aria-label": `full size: ${when}`, onclick: open }, img) : img;
    const canvas = el("div", { class: "canvas" }, inner);
    if (!medium.frames.length) canvas.append(overlay(s, medium), tags(s, medium));
    return canvas;
  }

  const seconds = (frame) => (frame[1] === null ? `frame ${frame[0]}` : `${frame[1].toFixed(2)} s · frame ${frame[0]}`);

  function mediaView(s, medium) {
    const figure = el("figure", { class: "media" });
    if (!medium.pictures.length) {
      figure.append(el("p", { class: "soft" }, medium.why));
    } else if (medium.frames.length) {
      const strip = el("ol", { class: "strip", tabindex: "0", "aria-label": "frames with their times" });
      medium.frames.forEach((frame, place) => {
        strip.append(el("li", {}, picture(s, medium, place, () => view(s, medium, place)), el("div", { class: "when" }, seconds(frame))));
      });
      figure.append(strip);
    } else {
      figure.append(picture(s, medium, 0, () => view(s, medium, 0)));
    }
    const [columns, rows] = medium.grid || [1, 1];
    const cut = medium.images > 1 ? `${medium.images} frames` : `${columns} × ${rows} ${columns * rows > 1 ? "tiles" : "tile"}`;
    const thumbnail = medium.tiles > columns * rows ? " and the thumbnail" : "";
    const enlarged = medium.enlarge > 1 ? `, enlarged ${medium.enlarge} × before tiling` : "";
    const size = medium.width ? `${medium.width} × ${medium.height} px${enlarged} · ` : "";
    const place = s.media.length > 1 ? el("b", {}, `Image ${s.media.indexOf(medium) + 1} `) : null;
    figure.append(el("figcaption", { class: "soft" }, place, `${size}${medium.grid ? cut + thumbnail + " · " : ""}${medium.path}`));
    return figure;
  }

  function mediaViews(s) {
    const figures = s.media.map((medium) => mediaView(s, medium));
    if (figures.length < 2) return figures;
    const marker = s.merged ? "one <image> marker for all" : "one <image> marker each";
    return [el("p", { class: "soft" }, `${figures.length} images, ${s.tiles || "unknown"} tiles, ${marker}`), el("div", { class: "gallery" }, ...figures)];
  }

  // Full size, with steps through the frames of a video or the images of a sample.
  function view(s, medium, place) {
    const all = s.media.flatMap((one) => one.pictures.map((_, index) => [one, index]));
    let at = all.findIndex(([one, index]) => one === medium && index === place);
    const step = (by) => {
      at = (at + by + all.length) % all.length;
      const [one, index] = all[at];
      $("viewer-body").replaceChildren(picture(s, one, index, null));
      $("viewer-title").textContent = one.frames.length ? seconds(one.frames[index]) : s.media.length > 1 ? `${nth(s, one)} · ${one.path}` : one.path;
    };
    $("viewer-steps").hidden = all.length < 2;
    $("viewer-prev").onclick = () => step(-1);
    $("viewer-next").onclick = () => step(1);
    step(0);
    if (!$("viewer").open) $("viewer").showModal();
  }

  return { $, el, uri, number, mediaViews };
})();
