// The keyboard of the Drive page. Space and Escape are STOP and live in `drive_stop.js`; a key that is held down does nothing.
import { actions } from "./drive_actions.js";
import { makeHelp, nameOf } from "./help.js";
import { on } from "./store.js";

const KEYS = {
  "Stop": [
    ["", "Space", "STOP, unless you are writing", null],
    ["", "Esc", "STOP, always", null],
  ],
  "Decide": [
    ["Enter", "Enter", "Approve the chunk, or ask again", actions.approve],
    ["r", "R", "Refuse it, or veto", actions.refuse],
    ["e", "E", "Edit action, plan or subtask", actions.edit],
    ["c", "C", "Say a correction", actions.correct],
    ["t", "T", "Type the next motion", actions.correct],
  ],
  "Drive": [
    ["i", "I", "Instruction", () => actions.instruction.focus()],
    ["1", "1", "Step: approve each chunk", () => actions.mode("step")],
    ["2", "2", "Supervised: time to veto", () => actions.mode("supervised")],
    ["3", "3", "Auto", () => actions.mode("auto")],
    ["v", "V", "Next camera", actions.camera],
  ],
  "Look": [
    ["l", "L", "Live", () => actions.view("live")],
    ["h", "H", "Runs so far", () => actions.view("runs")],
    ["p", "P", "Play or pause a replay", actions.play],
    ["ArrowLeft", "←", "One step back in a replay", () => actions.step(-1)],
    ["ArrowRight", "→", "One step on in a replay", () => actions.step(1)],
    ["?", "?", "Show or hide this list", actions.help],
  ],
};
const TABLE = new Map(Object.values(KEYS).flat().filter(([, , , action]) => action).map(([pressed, , , action]) => [pressed, action]));

// Somebody is writing, or a control that uses the key itself has the focus.
function taken(event) {
  const node = event.target;
  if (node.closest?.("textarea, select, [contenteditable], dialog")) return true;
  if (node.closest?.("input")) return node.type !== "range" || /^(Arrow|Home|End|Page)/.test(event.key);
  return Boolean(node.closest?.("button, a, summary, .vs-camera[tabindex]")) && event.key === "Enter";
}

export function startDriveKeys() {
  const overlay = makeHelp(KEYS, "They rest while you type. STOP never rests."); // not modal: STOP stays within reach
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (overlay.open && (event.key === "?" || event.key === "Escape")) { event.preventDefault(); overlay.close(); return; }
    if (taken(event)) return;
    const name = nameOf(event), action = TABLE.get(name);
    if (!action || (event.repeat && !name.startsWith("Arrow"))) return;
    event.preventDefault();
    action();
  });
  // After a click the keyboard belongs to the page again: Enter must not press the last button once more.
  document.addEventListener("click", (event) => { if (event.detail > 0) event.target.closest?.("#vs-drive button")?.blur(); });
  on("help", () => (overlay.open ? overlay.close() : overlay.show()));
}
