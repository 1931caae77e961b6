// After a run: how it ended, whether the task was done, notes, and where to look at it again.
import { button, fill, h, plural } from "./dom.js";
import { actions } from "./drive_actions.js";
import { post } from "./drive_live.js";
import { counts } from "./drive_run.js";
import { seconds } from "./drive_numbers.js";
import { emit } from "./store.js";

const ENDS = { finished: ["Finished", "good"], "gave up": ["Gave up", "warn"], "out of cycles": ["Out of cycles", "warn"], stopped: ["Stopped", "warn"], error: ["Error", "bad"] };
const OUTCOMES = { success: "Success", failure: "Failure" };

export const endChip = (end) => h("span", { class: `vs-chip ${ENDS[end]?.[1] || ""}` }, ENDS[end]?.[0] || end || "under way");

// What the simulator knows and the policy does not see.
export function truthNode(truth) {
  if (!truth) return null;
  const reached = Object.entries(truth.milestones || {});
  return h("p", { class: "vs-truth", title: "From the simulator's own state; the policy does not see this" }, h("span", { class: "vs-dim" }, "simulator's truth"),
    reached.map(([name, done]) => h("span", { class: done ? "done" : "" }, `${done ? "●" : "○"} ${name.replaceAll("_", " ")}`)), h("b", { class: truth.success ? "vs-yes" : "vs-dim" }, truth.success ? "task done ✓" : `${Math.round(100 * truth.partial)} %`));
}

// A person's verdict on a run, kept with it. What was chosen is shown at once and saved one after the other, the newest last; all
// forms of this page that show a run share its verdict.
const verdicts = new Map(); // run id -> {id, outcome, notes, state: "" | "waiting" | "saving" | "saved" | "failed"}
let saves = Promise.resolve();

function save(verdict) {
  verdict.state = "waiting";
  saves = saves.then(async () => {
    if (verdict.state !== "waiting") return; // an earlier save took this choice along
    verdict.state = "saving";
    const { id, outcome, notes } = verdict, { error } = await post(`runs/${encodeURIComponent(id)}/outcome`, { outcome, notes });
    if (verdict.state === "saving") verdict.state = error ? "failed" : "saved";
    if (error) emit("problem", error);
    emit("drive:runs");
  });
  return saves;
}

export function makeOutcome() {
  const notes = h("input", { type: "text", "aria-label": "Notes", placeholder: "Notes", maxlength: 1000 }), saved = h("span", { class: "vs-dim", role: "status" });
  const buttons = Object.entries(OUTCOMES).map(([name, label]) => h("button", { type: "button", dataset: { outcome: name }, onclick: () => say({ outcome: run.outcome === name ? "" : name }) }, label));
  const element = h("div", { class: "vs-inline vs-outcome" }, h("span", { class: "vs-dim" }, "outcome"), buttons, notes, saved);
  let run = { id: "", outcome: "", notes: "", state: "" };

  async function say(change) {
    const done = save(Object.assign(run, change, { notes: notes.value.trim() }));
    mark();
    await done;
    mark();
  }

  function mark() {
    for (const node of buttons) node.setAttribute("aria-pressed", node.dataset.outcome === run.outcome);
    const under = { waiting: "saving…", saving: "saving…", saved: "saved", failed: [h("span", { class: "vs-problem" }, "not saved "), button("Save again", "", () => say({}), { class: "small" })] };
    if (saved.dataset.state !== run.state) fill(saved, under[(saved.dataset.state = run.state)]); // said once, not at every drawing
  }

  notes.addEventListener("change", () => say({}));
  notes.addEventListener("keydown", (event) => { if (event.key === "Enter") notes.blur(); });
  return {
    element,
    // next: {id, outcome, notes} as the studio has them; fresh: newer than what this page knows.
    draw: (next, fresh = false) => {
      const known = verdicts.get(next.id), kept = known || { id: next.id, state: "" };
      verdicts.set(next.id, kept);
      if (!known || (fresh && (!kept.state || kept.state === "saved"))) Object.assign(kept, { outcome: next.outcome || "", notes: next.notes || "", state: "" });
      if (kept !== run || document.activeElement !== notes) notes.value = kept.notes;
      run = kept;
      mark();
    },
  };
}

// Put a run in the review queue as an annotation to correct.
export async function openInAnnotate(run) {
  const answer = await post(`runs/${encodeURIComponent(run)}/annotate`);
  if (answer.error) emit("problem", answer.error);
  else location.href = answer.ok.url;
}

export function endCard() {
  const head = h("div", { class: "vs-inline vs-end-head" }), truth = h("div", {}), outcome = makeOutcome(), why = h("p", { class: "vs-dim" });
  const replay = button("Replay", "", () => emit("drive:replay", id), {}), annotate = button("Open in Annotate", "", () => openInAnnotate(id), { title: "The trace becomes an annotation to correct and export" });
  const element = h("div", { class: "vs-end" }, head, truth, outcome.element, h("div", { class: "vs-inline" }, replay, annotate, button("Next instruction", "I", () => actions.instruction.focus()), why));
  let id = "";

  function draw(run, shown) {
    element.hidden = run.state !== "ended";
    if (element.hidden || !shown) return;
    id = run.id;
    const number = counts(shown), kept = shown.ended?.kept !== false;
    fill(head, endChip(run.end || shown.ended?.end), h("span", {}, run.reason || shown.ended?.reason || ""), h("small", { class: "vs-dim" },
      [plural(number.cycles, "cycle"), `${plural(number.moved, "row")} moved`, number.retries && plural(number.retries, "text") + " did not parse", number.clamped && `${number.clamped} shortened`, number.refused && `${number.refused} refused`, seconds(shown.last - (shown.began ?? shown.last))].filter(Boolean).join(" · ")));
    fill(truth, truthNode(shown.truth));
    outcome.draw({ id, ...shown.verdict });
    replay.disabled = annotate.disabled = outcome.element.hidden = !kept;
    fill(why, kept ? "" : "Nothing moved, so there is nothing to keep.");
  }
  return { element, draw };
}

