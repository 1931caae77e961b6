// The lanes under the picture: steps, subtasks with draggable edges, dominant motion, gripper, check marks, and the playhead.
import { h, fill } from "./dom.js";
import { actions } from "./actions.js";
import { clamp, on, save, selectSpan, setStep, spanAt, spanOf, state } from "./store.js";

const ARROWS = { u: "↑", d: "↓", l: "←", r: "→", f: "⇡", b: "⇣" };
const WAYS = { u: "up", d: "down", l: "left", r: "right", f: "forward", b: "back" };
const MARKS = { error: "■", warning: "▲", info: "●" };
const SIGNS = { accepted: "✓", rejected: "✕", flagged: "⚑" };

export function makeTimeline() {
  const ruler = lane("ruler"), spans = lane("spans"), motion = lane("motion"), gripper = lane("gripper"), checks = lane("checks");
  const head = h("div", { class: "vs-playhead" }, h("i", {}));
  const tracks = h("div", { class: "vs-tracks" }, ruler, spans, motion, gripper, checks, head);
  const tip = h("div", { class: "vs-dragtip", hidden: true });
  tracks.append(tip);
  const element = h("div", { class: "vs-timeline" },
    h("div", { class: "vs-lanes" },
      label("step", "Drag to scrub"), label("subtask", "Drag an edge to move it; Shift and drag to draw a new subtask"),
      label("motion", "Dominant direction of the recorded motion: ↑ ↓ up and down, ← → left and right, ⇡ ⇣ forward and back"),
      label("gripper", "Hollow: open. Solid: closed."), label("checks", "■ error, ▲ warning, ● note")),
    tracks);
  let drag = null, drawing = false;

  const percent = (step) => `${(step / state.view.steps) * 100}%`;
  const place = (node, start, end) => { node.style.left = percent(start); node.style.width = percent(end - start); return node; };
  const position = (event) => {
    const box = tracks.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * state.view.steps;
  };

  function draw() {
    if (!state.view) { for (const each of [ruler, spans, motion, gripper, checks]) fill(each); return; }
    drawRuler();
    drawSpans();
    fill(motion, runs(state.view.motion).map(([letters, start, end]) => motionRun(letters, start, end)));
    fill(gripper, runs(state.view.gripper).map(([open, start, end]) => gripperRun(open, start, end)));
    drawChecks();
    drawHead();
  }

  function drawRuler() {
    const { steps, rate_hz } = state.view;
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((size) => steps / size <= 12) || 1000;
    const ticks = [];
    for (let step = 0; step < steps; step += every) {
      const tick = h("span", { class: "vs-tick", title: `${(step / rate_hz).toFixed(1)} s` }, String(step + 1));
      tick.style.left = percent(step);
      ticks.push(tick);
    }
    fill(ruler, ticks);
  }

  function drawSpans() {
    const list = drag?.spans || state.view.spans;
    const nodes = [];
    list.forEach((span, index) => {
      const before = list[index - 1];
      nodes.push(spanNode(span, index));
      if (span.start > 0 && (!before || before.end !== span.start)) nodes.push(edge(span, "start"));
      if (span.end < state.view.steps || list[index + 1]) nodes.push(edge(span, "end"));
    });
    if (drag?.empty) nodes.push(place(h("div", { class: "vs-ghost" }, "new"), ...drag.empty));
    fill(spans, nodes);
  }

  function spanNode(span, index) {
    const classes = ["vs-span", span.status, span.uid === state.span ? "on" : "", span.stale.length ? "stale" : ""];
    const sign = SIGNS[span.status];
    const title = `${index + 1}. ${span.text}\nsteps ${span.start + 1} to ${span.end}, ${span.status}${span.reason ? `: ${span.reason}` : ""}` +
      (span.stale.length ? `\n${span.stale.join(" and ")} written for other boundaries` : "");
    const node = h("div", { class: classes.join(" "), title, dataset: { uid: span.uid }, role: "button", "aria-pressed": span.uid === state.span },
      h("i", { style: `background: var(--path-${index % 8})` }), sign && h("b", {}, sign), h("span", {}, span.text));
    return place(node, span.start, span.end);
  }

  function edge(span, which) {
    const node = h("div", { class: "vs-edge", title: "Drag to move this boundary", role: "slider", "aria-label": `${which} of ${span.text}`, "aria-valuenow": span[which], dataset: { uid: span.uid, edge: which } });
    node.style.left = percent(span[which]);
    return node;
  }

  function motionRun(letters, start, end) {
    const words = letters ? [...letters].map((letter) => WAYS[letter] || letter).join(" and ") : "still";
    const glyphs = h("div", { class: `vs-run ${letters ? "" : "still"}`, title: `${words}, steps ${start + 1} to ${end}` });
    const arrow = letters ? ARROWS[letters[0]] || letters[0] : "·";
    const room = Math.max(1, Math.floor(((end - start) / state.view.steps) * (tracks.clientWidth || 600) / 15));
    for (let count = Math.min(end - start, room); count > 0; count--) {
      glyphs.append(h("span", {}, arrow, letters.length > 1 && h("small", {}, ARROWS[letters[1]] || "")));
    }
    return place(glyphs, start, end);
  }

  function gripperRun(open, start, end) {
    const word = open ? "open" : "closed";
    return place(h("div", { class: `vs-grip ${word}`, title: `gripper ${word}, steps ${start + 1} to ${end}` }, h("span", {}, word)), start, end);
  }

  function drawChecks() {
    const stacked = new Map();
    fill(checks, state.view.findings.map((finding) => {
      const start = finding.start_step ?? spanOf(finding.uid)?.start ?? 0;
      const nth = stacked.get(start) || 0;
      stacked.set(start, nth + 1);
      const mark = h("button", { type: "button", class: `vs-check ${finding.severity}`, title: `${finding.severity}: ${finding.message}`, "aria-label": `${finding.severity}: ${finding.message}`,
        onclick: () => { selectSpan(finding.uid || spanAt(start)?.uid); setStep(start); } }, MARKS[finding.severity] || "●");
      mark.style.left = `calc(${percent(start)} + ${nth * 15}px)`;
      return mark;
    }));
  }

  function drawHead() {
    if (!state.view) return;
    head.style.left = percent(state.step + 0.5);
  }

  // Dragging: an edge moves a boundary, empty steps become a new subtask, everywhere else it scrubs.
  tracks.addEventListener("pointerdown", (event) => {
    if (!state.view || event.button !== 0 || event.target.closest(".vs-check")) return;
    const node = event.target;
    const at = position(event);
    if (node.dataset.edge) drag = startEdge(node.dataset.uid, node.dataset.edge);
    else if (node === spans || (spans.contains(node) && (drawing || event.shiftKey))) drag = { kind: "create", from: Math.floor(at) };
    else drag = { kind: "scrub", uid: node.closest(".vs-span")?.dataset.uid };
    tracks.setPointerCapture(event.pointerId);
    if (drag.kind === "scrub") { if (drag.uid) selectSpan(drag.uid); setStep(Math.floor(at)); }
    event.preventDefault();
  });

  tracks.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const at = position(event);
    if (drag.kind === "scrub") setStep(Math.floor(at));
    else if (drag.kind === "edge") moveEdge(Math.round(at));
    else {
      const other = clamp(Math.floor(at), 0, state.view.steps - 1);
      setStep(other);
      drag.empty = [Math.min(drag.from, other), Math.max(drag.from, other) + 1];
      drawSpans();
    }
  });

  tracks.addEventListener("pointerup", () => {
    const done = drag;
    drag = null;
    tip.hidden = true;
    tracks.classList.remove("dragging");
    if (!done) return;
    if (done.kind === "edge" && done.at !== done.was) save({ kind: "move_boundary", uid: done.uid, edge: done.edge, step: done.at });
    else if (done.kind === "create" && done.empty) { setDrawing(false); actions.create(...done.empty); }
    if (done.kind !== "scrub") drawSpans();
  });

  tracks.addEventListener("pointercancel", () => { drag = null; tip.hidden = true; draw(); });

  tracks.addEventListener("dblclick", (event) => {
    if (event.target === spans && state.view) actions.create(...gapAt(Math.floor(position(event))));
  });

  function setDrawing(value) {
    drawing = value;
    tracks.classList.toggle("drawing", value);
  }

  function startEdge(uid, which) {
    const list = structuredClone(state.view.spans);
    const index = list.findIndex((span) => span.uid === uid);
    const span = list[index], other = list[which === "end" ? index + 1 : index - 1];
    const shared = other && (which === "end" ? other.start === span.end : other.end === span.start) ? other : null;
    const low = which === "end" ? span.start + 1 : shared ? shared.start + 1 : other ? other.end : 0;
    const high = which === "start" ? span.end - 1 : shared ? shared.end - 1 : other ? other.start : state.view.steps;
    tracks.classList.add("dragging");
    return { kind: "edge", uid, edge: which, spans: list, span, shared, low, high, was: span[which], at: span[which] };
  }

  function moveEdge(step) {
    const at = clamp(step, drag.low, drag.high);
    tip.hidden = false;
    tip.style.left = percent(at);
    fill(tip, `step ${at + 1} · ${(at / state.view.rate_hz).toFixed(1)} s`);
    if (at === drag.at) return;
    drag.at = at;
    drag.span[drag.edge] = at;
    if (drag.shared) drag.shared[drag.edge === "end" ? "start" : "end"] = at;
    drawSpans();
    setStep(Math.min(at, state.view.steps - 1)); // the picture shows the first frame after the boundary
  }

  const gapAt = (step) => {
    const before = state.view.spans.filter((span) => span.end <= step).pop();
    const after = state.view.spans.find((span) => span.start > step);
    return [before ? before.end : 0, after ? after.start : state.view.steps];
  };

  on("view", draw);
  on("span", drawSpans);
  on("drawing", () => setDrawing(!drawing));
  on("step", drawHead);
  new ResizeObserver(() => state.view && !drag && draw()).observe(tracks);
  return { element, draw };
}

const lane = (name) => h("div", { class: `vs-lane ${name}` });
const label = (text, title) => h("div", { title }, text);

// Neighbouring equal values as [value, start, end].
function runs(values) {
  const found = [];
  values.forEach((value, step) => {
    const last = found[found.length - 1];
    if (last && last[0] === value) last[2] = step + 1;
    else found.push([value, step, step + 1]);
  });
  return found;
}
