// The keyboard: one table for the shortcuts and for the overlay that lists them.
import { actions } from "./actions.js";
import { makeHelp, nameOf } from "./help.js";
import { on, spanOf, state } from "./store.js";

// [key as pressed, key as shown, what it does, action]
const KEYS = {
  "Watch": [
    [" ", "Space", "Play or pause", actions.play],
    ["ArrowLeft", "←", "One step back", () => actions.step(-1)],
    ["ArrowRight", "→", "One step on", () => actions.step(1)],
    ["Shift+ArrowLeft", "Shift ←", "Ten steps back", () => actions.step(-10)],
    ["Shift+ArrowRight", "Shift →", "Ten steps on", () => actions.step(10)],
    ["Home", "Home", "First step", () => actions.step(-1e9)],
    ["End", "End", "Last step", () => actions.step(1e9)],
    ["l", "L", "Loop this subtask", actions.loop],
    ["c", "C", "Next camera", actions.camera],
  ],
  "Subtasks": [
    ["j", "J", "Next subtask", () => actions.neighbour(1)],
    ["k", "K", "Previous subtask", () => actions.neighbour(-1)],
    ["[", "[", "Start it at this step", actions.startHere],
    ["]", "]", "End it after this step", actions.endHere],
    ["s", "S", "Split at the playhead", actions.split],
    ["m", "M", "Merge with the next one", actions.merge],
    ["i", "I", "Draw a new one: drag over its steps", actions.draw],
  ],
  "Text": [
    ["t", "T", "Edit the subtask", actions.editSubtask],
    ["e", "E", "Edit the plan", actions.editPlan],
    ["w", "W", "Edit the action rows", actions.editChunk],
    ["Enter", "Enter", "Take what the numbers say, for stale lines", actions.takeDerived],
    ["g", "G", "Annotate this subtask again", actions.again],
  ],
  "Decide": [
    ["a", "A", "Accept, or take it back", actions.accept],
    ["d", "D", "Accept and go on", actions.acceptAndNext],
    ["Shift+A", "Shift A", "Accept the whole episode", actions.acceptEpisode],
    ["r", "R", "Reject, with a reason", actions.reject],
    ["f", "F", "Flag, with a reason", actions.flag],
    ["z", "Z", "Undo", actions.undo],
    ["Shift+Z", "Shift Z", "Redo", actions.redo],
    ["n", "N", "Next episode in the queue", actions.nextEpisode],
    ["p", "P", "Previous episode in the queue", actions.previousEpisode],
    ["?", "?", "Show or hide this list", () => actions.help()],
  ],
};
const TABLE = new Map(Object.values(KEYS).flat().map(([pressed, , , action]) => [pressed, action]));
const WITHOUT_EPISODE = new Set(["?", "n"]);

// Somebody is writing, or a control that uses the key itself has the focus.
function taken(event) {
  const node = event.target;
  if (node.closest?.("textarea, select, [contenteditable], dialog, .vs-pop")) return true;
  if (node.closest?.("input")) return node.type !== "range" || /^(Arrow|Home|End|Page)/.test(event.key);
  return Boolean(node.closest?.("button, a, summary")) && (event.key === "Enter" || event.key === " ");
}

// After a click the keyboard belongs to the player again: Space must not press the last button once more.
function leaveClicked(event) {
  const node = event.target.closest?.(".vs-mount button, .vs-mount select, .vs-mount input[type=range]");
  if (node && event.detail > 0 && event.type === "click" && node.tagName === "BUTTON") node.blur();
  if (node && event.type === "change") node.blur();
}

export function startKeys() {
  const overlay = makeHelp(KEYS, "They rest while you type; Escape leaves a text box.");
  document.addEventListener("click", leaveClicked);
  document.addEventListener("change", leaveClicked);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && overlay.open) { overlay.close(); return; }
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || !document.querySelector(".vs-stage")?.offsetParent && !WITHOUT_EPISODE.has(event.key)) return;
    if (overlay.open && event.key === "?") { event.preventDefault(); overlay.close(); return; }
    if (state.conflict || taken(event)) return;
    const name = nameOf(event), action = TABLE.get(name);
    if (!action || (!state.view && !WITHOUT_EPISODE.has(name))) return;
    if (name === "Enter" && !spanOf(state.span)?.stale.length) return;
    event.preventDefault();
    action();
  });
  on("help", () => (overlay.open ? overlay.close() : overlay.showModal()));
}
