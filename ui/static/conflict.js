// Two people saved the same episode: shows what changed in between beside what was refused, and keeps the refused draft.
import { button, fill, h, when } from "./dom.js";
import { changeList } from "./history.js";
import { on, settleConflict, spanOf, state } from "./store.js";

export function startConflicts() {
  const dialog = h("dialog", { class: "vs-dialog vs-conflict", "aria-label": "Somebody saved in between" });
  dialog.addEventListener("cancel", (event) => event.preventDefault()); // a decision is needed: Escape must not drop the draft
  document.body.append(dialog);

  function draw() {
    const conflict = state.conflict;
    if (!conflict) { dialog.close(); return; }
    fill(dialog, h("header", {}, h("h2", {}, `${conflict.author} saved in between`), h("span", { class: "vs-dim" }, `revision ${conflict.head}, ${when(conflict.at)}`)),
      h("p", {}, "Your change was not saved, and nothing of it is lost. This changed since you opened the episode:"),
      conflict.changes.length ? changeList(conflict.changes) : h("p", { class: "vs-dim" }, "Nothing that is visible."),
      h("h3", {}, "Your change"),
      h("ul", { class: "vs-yours" }, conflict.held.map((entry) => h("li", {}, describe(entry)))),
      h("footer", {}, button("Apply mine on top", "", () => settleConflict(true), { class: "primary" }), button("Discard mine", "", () => settleConflict(false))));
    if (!dialog.open) dialog.showModal();
  }
  on("conflict", draw);
}

function describe(entry) {
  const edit = entry.args.edit;
  if (!edit) return `${entry.name} (does not apply any more)`;
  const name = spanOf(edit.uid)?.text || (edit.uid ? "a subtask" : "the whole episode");
  if (edit.kind === "set_text") return h("span", {}, `${edit.level} of “${name}”: `, h("q", {}, edit.text));
  if (edit.kind === "move_boundary") return `${edit.edge} of “${name}” to step ${edit.step + (edit.edge === "start" ? 1 : 0)}`;
  if (edit.kind === "set_status") return `${name}: ${edit.status}${edit.reason ? ` (${edit.reason})` : ""}`;
  return `${edit.kind} ${name}`;
}
