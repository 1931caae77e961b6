// The runs so far: a list to look at one again, or to choose two and see them beside each other.
import { button, fill, h, plural, when } from "./dom.js";
import { endChip, makeOutcome, openInAnnotate } from "./drive_end.js";
import { makeGauges } from "./drive_gauges.js";
import { get, live } from "./drive_live.js";
import { seconds } from "./drive_numbers.js";
import { makeRunPath } from "./drive_path.js";
import { loadRun, makeCursor, makePlayback, replayCameras } from "./drive_replay.js";
import { makeScrubber } from "./drive_scrubber.js";
import { frameAddress } from "./drive_cameras.js";
import { makeComparison } from "./drive_compare.js";
import { makeTrace } from "./trace.js";
import { emit, on } from "./store.js";

// frames(step) of a run, for the pictures of its verdicts.
export const framesOf = (id, cameras) => (step) => cameras.map(({ name, title }) => ({ title: title || name, src: frameAddress(id, step, name) }));

export function makeRuns() {
  const list = h("ul", { class: "vs-run-list", "aria-label": "Runs" }), side = h("aside", { class: "vs-runs-side" });
  const picked = h("div", { class: "vs-picked" }), stage = h("div", { class: "vs-runs-stage" });
  const element = h("section", { class: "vs-runs" }, side, stage);
  fill(side, h("header", {}, h("b", {}, "Runs"), picked), list);
  let runs = null, chosen = [], shown = null, asked = 0;

  async function load() {
    const answer = await get("/drive/runs");
    runs = answer.runs || [];
    drawList(answer.error);
    if (!runs.length) fill(stage, nothing(answer.error));
    else if (!shown && !chosen.length) open(runs[0].id);
  }

  const nothing = (error) => h("div", { class: "vs-choose" }, h("h1", {}, error ? "The runs cannot be shown" : "No runs yet"), h("p", {}, error || "Every run is kept here with its pictures and its trace, to be looked at again, compared and corrected."),
    error ? button("Try again", "", load, { class: "primary" }) : button("Go to Live", "L", () => emit("drive:view", "live"), { class: "primary" }));

  function drawList(error) {
    fill(picked, chosen.length === 2 ? button("Compare", "", () => compare(...chosen), { class: "primary small" }) : h("small", { class: "vs-dim" }, chosen.length ? "tick one more to compare" : "tick two to compare"));
    fill(list, error && h("li", { class: "vs-problem" }, error), runs.map((run) => h("li", { class: shown?.id === run.id ? "on" : "" },
      h("input", { type: "checkbox", checked: chosen.includes(run.id), "aria-label": `Compare ${run.instruction}`, onchange: (event) => pick(run.id, event.target.checked) }),
      h("button", { type: "button", class: "vs-past", onclick: () => open(run.id), title: `${run.id}\n${run.reason || ""}` }, h("span", {}, run.instruction),
        h("small", {}, [run.policy, run.mode, seconds(run.seconds), when(run.began_at)].join(" · ")), h("small", {}, endChip(run.end), run.truth && h("span", { class: `vs-chip ${run.truth.success ? "good" : ""}`, title: "By the simulator's truth" }, run.truth.success ? "task done" : `${Math.round(100 * run.truth.partial)} %`), run.outcome && h("span", { class: `vs-chip ${run.outcome === "success" ? "good" : "warn"}` }, `you: ${run.outcome}`))))));
  }

  function pick(id, on_) {
    chosen = on_ ? [...chosen, id].slice(-2) : chosen.filter((each) => each !== id);
    drawList();
  }

  async function open(id, step = null) {
    const ticket = ++asked;
    fill(stage, h("div", { class: "vs-choose" }, h("div", { class: "vs-busy" }, h("i", {}), "Loading the run…")));
    try {
      const loaded = await loadRun(id);
      if (ticket !== asked) return;
      shown?.close();
      shown = replayView(loaded, step);
      fill(stage, shown.element);
      address({ run: id, step: shown.step() });
    } catch (error) {
      if (ticket !== asked) return;
      shown = null;
      fill(stage, h("div", { class: "vs-failed", role: "alert" }, h("h2", {}, "This run cannot be shown"), h("p", {}, error.message), button("Try again", "", () => open(id), { class: "primary" })));
    }
    if (runs) drawList();
  }

  async function compare(a, b) {
    const ticket = ++asked;
    chosen = [a, b];
    try {
      const [left, right, table] = await Promise.all([loadRun(a), loadRun(b), get(`/drive/compare?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`)]);
      if (ticket !== asked) return;
      shown?.close();
      shown = makeComparison(left, right, table);
      fill(stage, shown.element);
      address({ a, b });
    } catch (error) {
      if (ticket === asked) fill(stage, h("div", { class: "vs-failed", role: "alert" }, h("h2", {}, "These runs cannot be compared"), h("p", {}, error.message)));
    }
    if (runs) drawList();
  }

  on("drive:runs", () => { if (element.isConnected && !element.hidden) load(); });
  on("drive:play", () => element.hidden || shown?.playback.toggle());
  on("drive:step", (by) => element.hidden || shown?.playback.by(by));
  return { element, load, open, compare, hidden: () => shown?.playback.toggle(false) };
}

// The address bar restores what was looked at.
function address(values) {
  const url = new URL(location.href);
  for (const name of ["run", "step", "a", "b"]) url.searchParams.delete(name);
  for (const [name, value] of Object.entries(values)) url.searchParams.set(name, String(value));
  history.replaceState(history.state, "", url);
}

function replayView(loaded, wanted) {
  const cursor = makeCursor(loaded), cameras = replayCameras(loaded), gauges = makeGauges(), whole = cursor.all();
  const path = makeRunPath(() => [{ run: whole, upTo: cursor.step() }]), trace = makeTrace({ frames: framesOf(loaded.id, loaded.cameras), empty: h("p", {}, "Nothing was written.") });
  const outcome = makeOutcome(), joints = loaded.joints || live.state?.robot?.joints || [];
  const playback = makePlayback({
    count: cursor.count, seconds: cursor.seconds,
    at: (step) => { trace.draw(cursor.seek(step)); cameras.draw(step); path.draw(); gauges.draw(joints, loaded.steps[step] && poseOf(loaded, step), cursor.run().truth); },
    changed: (step, playing) => scrubber.draw(step, cursor.count(), cursor.seconds(), playing),
  });
  const scrubber = makeScrubber(() => playback);
  const { info } = loaded;
  const head = h("header", { class: "vs-replay-head" }, h("h1", {}, info.instruction), h("p", { class: "vs-dim" }, [info.policy_title || info.policy, info.robot, `${info.mode} mode`, plural(loaded.steps.length, "step"), when(info.began_at)].filter(Boolean).join(" · ")), h("div", { class: "vs-inline" }, endChip(info.end), h("span", {}, info.reason)));
  const element = h("div", { class: "vs-replay" }, h("div", { class: "vs-look" }, cameras.element, scrubber.element, h("div", { class: "vs-measures" }, path.element, gauges.element)),
    h("div", { class: "vs-work" }, head, trace.element, h("div", { class: "vs-ask vs-replay-foot" }, outcome.element, button("Open in Annotate", "", () => openInAnnotate(loaded.id), { title: "The trace becomes an annotation to correct and export" }))));
  outcome.draw(info, true);
  playback.set(wanted ?? cursor.count() - 1);
  return { id: loaded.id, element, playback, step: cursor.step, close: () => playback.toggle(false) };
}

// What was measured at a step; joints come from the record of that look.
function poseOf(loaded, step) {
  const looked = loaded.records.find((record) => record.kind === "observed" && record.step === step);
  return { ee: loaded.steps[step].ee, joints: looked?.joints || {} };
}
