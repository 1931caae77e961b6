// The middle of the tab: title bar, picture and path, transport, timeline. Also what is shown when there is nothing to show.
import { button, fill, h, icon, notice, plural } from "./dom.js";
import { link } from "./link.js";
import { SPEEDS, makeClock, makePlayer } from "./player.js";
import { makePath } from "./path.js";
import { makeTimeline } from "./timeline.js";
import { emit, on, register, setStep, state } from "./store.js";
import { actions } from "./actions.js";
import { startAnnotate } from "./annotate.js";
import { importForm, openFailed } from "./welcome.js";

export function mountStage(element, server) {
  const player = makePlayer(), path = makePath(), timeline = makeTimeline(), clock = makeClock();
  Object.assign(actions.clock, clock);
  const cover = h("div", { class: "vs-cover", hidden: true });
  const instead = h("div", { class: "vs-instead" });
  const body = h("div", { class: "vs-stage" }, titleBar(), h("div", { class: "vs-view" }, player.element, path.element), transport(clock), timeline.element, edits(), cover);
  fill(element, body, instead);

  function arrange() {
    const nothing = !state.view && !state.opening;
    cover.hidden = !state.opening;
    body.hidden = nothing;
    instead.hidden = !nothing;
    if (!nothing) return;
    if (state.failed) fill(instead, openFailed(state.failed));
    else if (instead.querySelector(".vs-import")) return; // the form stays until its result has been read
    else if (state.queue.counts && state.queue.counts.total === 0) {
      fill(instead, importForm("No episodes yet"));
    } else if (state.queue.error) fill(instead, openFailed(state.queue.error));
    else fill(instead, h("p", {}, state.queue.loading ? "" : "Choose an episode on the left."));
  }

  for (const topic of ["view", "opening", "queue"]) on(topic, arrange);
  register(server);
  arrange();
  startAnnotate();
}

function titleBar() {
  const instruction = h("h1", {}, " "), meta = h("div", { class: "vs-meta" }), lease = h("div", { class: "vs-lease" });
  const saved = h("span", { class: "vs-saved", role: "status" });
  const undo = button(icon("undo"), "Z", actions.undo, { title: "Undo (Z)", class: "icon", "aria-label": "Undo" });
  const redo = button(icon("redo"), "⇧Z", actions.redo, { title: "Redo (Shift+Z)", class: "icon", "aria-label": "Redo" });
  const copy = button(icon("link"), "", () => copyLink(), { title: "Copy a link to this step and subtask", class: "icon", "aria-label": "Copy link" });
  const help = button("?", "", actions.help, { title: "All keys (?)", class: "icon help", "aria-label": "All keys" });

  function draw() {
    const view = state.view;
    if (!view) return;
    fill(instruction, view.instruction);
    instruction.title = view.instruction;
    fill(meta, [view.dataset, view.embodiment, plural(view.steps, "step"), `${+view.rate_hz.toFixed(2)} Hz`].map((text) => h("span", {}, text)),
      view.simulated && h("span", { class: "vs-badge" }, "simulated"), h("span", { class: `vs-status ${view.status}` }, view.status.replace("_", " ")));
    meta.title = [view.source_text, ...view.notes].join("\n");
    const other = view.lease && !view.lease.mine && view.lease.holder;
    fill(lease, other ? `${other} is reviewing this episode too` : "");
    lease.hidden = !other;
    undo.disabled = !view.can_undo;
    redo.disabled = !view.can_redo;
  }

  on("view", draw);
  on("saving", () => { fill(saved, state.saving ? "saving…" : state.view?.revision ? "saved" : ""); saved.dataset.pending = String(state.saving); });
  return h("header", { class: "vs-title" }, h("div", {}, instruction, meta), lease, h("div", { class: "vs-tools" }, saved, undo, redo, copy, help));
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(link().href);
    notice("Link copied: it opens this episode, step and subtask.", "good");
  } catch {
    notice(`Copy it from the address bar: ${link().href}`);
  }
}

function transport(clock) {
  const play = button(icon("play"), "Space", () => clock.toggle(), { class: "play", title: "Play or pause (Space)", "aria-label": "Play or pause" });
  const slider = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Step", oninput: (event) => setStep(Number(event.target.value)) });
  const speed = h("select", { title: "Speed", "aria-label": "Speed", onchange: (event) => clock.setSpeed(Number(event.target.value)) }, SPEEDS.map((value) => h("option", { value, selected: value === 1 }, `${value}×`)));
  const camera = h("select", { title: "Camera (C)", "aria-label": "Camera", onchange: (event) => { state.camera = event.target.value; emit("camera"); } });
  const loop = button(icon("loop"), "L", () => clock.setLoop(!clock.loop()), { class: "icon", title: "Play only this subtask, over and over (L)", "aria-label": "Loop subtask" });
  const time = h("output", {});
  const step = (by, name, title) => button(icon(name), "", () => setStep(state.step + by), { class: "icon", title, "aria-label": title });

  function drawStep() {
    if (!state.view) return;
    slider.value = state.step;
    fill(time, `${state.step + 1} / ${state.view.steps}`);
  }
  on("view", ({ fresh } = {}) => {
    if (!state.view) return;
    slider.max = state.view.steps - 1;
    if (fresh) fill(camera, state.view.cameras.map((name) => h("option", { value: name, selected: name === state.camera }, name)));
    camera.disabled = state.view.cameras.length < 2;
    drawStep();
  });
  on("camera", () => { camera.value = state.camera; });
  on("step", drawStep);
  on("playing", () => {
    play.firstChild.replaceWith(icon(state.playing ? "pause" : "play"));
    loop.setAttribute("aria-pressed", clock.loop());
  });
  return h("div", { class: "vs-transport" }, step(-1e9, "first", "First step (Home)"), step(-1, "back", "One step back (←)"), play, step(1, "on", "One step on (→)"), step(1e9, "last", "Last step (End)"), slider, time, loop, speed, camera);
}


// What changes the spans of the timeline, each with its key.
function edits() {
  return h("div", { class: "vs-edits" }, button("Split here", "S", actions.split), button("Merge with next", "M", actions.merge), button("Start here", "[", actions.startHere, { title: "The subtask starts at the step that is shown ([)" }),
    button("End here", "]", actions.endHere, { title: "The subtask ends after the step that is shown (])" }), button("New", "I", actions.draw, { title: "Draw a new subtask: drag over its steps in the timeline (I)" }));
}
