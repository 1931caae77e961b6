// Pages for when there is nothing to review yet: import, label, or what went wrong.
import { actions } from "./actions.js";
import { button, fill, h, icon, plural } from "./dom.js";
import { runJob } from "./jobs.js";
import { emit, loadQueue, on, openEpisode, state } from "./store.js";

export function importForm(title) {
  const path = h("input", { type: "text", placeholder: "Folder of a data set, on the computer that runs the studio", "aria-label": "Path of a data set", name: "path" });
  const result = h("div", { class: "vs-result", role: "status" });
  const go = button("Import", "", null, { class: "primary", type: "submit" });
  return h("form", { class: "vs-import", onsubmit: (event) => { event.preventDefault(); load(path, go, result); } },
    h("h1", {}, title),
    h("p", {}, "Give the folder of a recorded data set: Bridge (RLDS or raw folders) or LeRobot (v2.1 or v3.0). Frames stay where they are."),
    h("div", { class: "vs-inline" }, path, go), result,
    h("p", { class: "vs-dim" }, "The same from the command line: ", h("code", {}, "python -m vlm2vla import PATH")));
}

async function load(path, go, result) {
  if (!path.value.trim()) { path.focus(); return; }
  go.disabled = true;
  fill(result, h("div", { class: "vs-busy" }, h("i", {}), "Reading…"));
  const job = await runJob("start_import", { path: path.value.trim() });
  go.disabled = false;
  if (!job.report) { fill(result, h("p", { class: "vs-problem" }, job.error || "Stopped; what was read is kept.")); return; }
  const { episodes, steps, errors } = job.report;
  fill(result, h("p", {}, `${plural(episodes, "episode")}, ${plural(steps, "step")} imported.`), errors.length > 0 && problems(errors),
    episodes > 0 && h("p", {}, labelAll(), " Free, and done in seconds; Gemini can label them later."), episodes > 0 && button("Look at them first", "", openSomething, { class: "small" }));
}

const problems = (errors) => h("details", { class: "vs-problem" }, h("summary", {}, `${plural(errors.length, "record")} could not be read`),
  h("ul", {}, errors.slice(0, 20).map((error) => h("li", {}, `${error.path} ${error.record ?? ""}: ${error.message}`))));

async function openSomething() {
  document.querySelector(".vs-import-dialog")?.close();
  if (!state.view && state.queue.rows.length) await openEpisode(state.queue.rows[0].id);
}

// More data for a studio that has some already.
export function importDialog() {
  const close = h("button", { type: "button", class: "icon", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"));
  const dialog = h("dialog", { class: "vs-dialog vs-import-dialog vs-mount", "aria-label": "Import" }, close, importForm("Import a data set"));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// The button that labels every episode without labels from the recorded numbers.
export function labelAll() {
  const node = button("Annotate from the numbers", "", async () => {
    node.disabled = true;
    const job = await runJob("start_annotating", { annotator: "kinematic" });
    node.disabled = false;
    if (job.error) { emit("problem", job.error); return; }
    if (state.view) await openEpisode(state.view.id, { step: state.step });
    await openSomething();
  }, { class: "primary" });
  return node;
}

// In place of the inspector, for an episode that nobody has labelled.
export function noLabels() {
  const ask = (annotator, text, title, kind) => button(text, "", () => actions.annotate(annotator), { class: kind, title });
  const area = h("div", { class: "vs-nolabels" }, h("h2", {}, "No labels yet"), h("p", {}, "Label this episode as subtasks, motion plans and action rows, then correct them here."),
    ask("kinematic", "Annotate from the numbers", "From gripper events and changes of direction; free", "primary"), ask("gemini", "Ask Gemini", "Needs GEMINI_API_KEY; paid per request", ""));
  on("busy", (working) => { for (const node of area.querySelectorAll("button")) node.disabled = working; });
  return area;
}

export const openFailed = (message) => h("div", { class: "vs-failed", role: "alert" }, h("h2", {}, "This cannot be shown"), h("p", {}, message),
  button("Try again", "", () => { loadQueue(); const id = new URLSearchParams(location.search).get("ep"); if (id) openEpisode(id); }, { class: "primary" }));
