// Who changed what: revisions with word differences, and the way back to each.
import { button, h, when } from "./dom.js";
import { diffNode } from "./words.js";

export function historyList(entries, head, onrevert) {
  return h("ol", { class: "vs-revisions" }, entries.map((entry) => h("li", {},
    h("div", {}, h("b", {}, `#${entry.number}`), " ", h("span", {}, entry.author), " ", h("time", { datetime: entry.at, title: entry.at }, when(entry.at)), h("span", { class: "vs-dim" }, entry.note ? ` · ${entry.note.replaceAll("_", " ")}` : ""),
      entry.number === head ? h("span", { class: "vs-dim" }, " · now") : button("Revert", "", () => onrevert(entry.number), { class: "small", title: `Go back to revision ${entry.number}` })),
    changeList(entry.changes))));
}

// Rows of {label, field, was, now} as sentences with the changed words marked.
export function changeList(changes) {
  return h("ul", { class: "vs-changes" }, changes.slice(0, 12).map((row) => h("li", {}, h("span", { class: "vs-dim" }, `${row.label} · ${row.field.replace("_", " ")}: `), difference(row))),
    changes.length > 12 && h("li", { class: "vs-dim" }, `and ${changes.length - 12} more`));
}

function difference(row) {
  const steps = ["start", "end"].includes(row.field);
  return steps ? h("span", { class: "vs-diff" }, h("del", {}, shown(row, row.was)), " ", h("ins", {}, shown(row, row.now))) : diffNode(row.was, row.now);
}

// The page counts steps from 1; the end of a half-open span is its last step, counted so.
const shown = (row, step) => String(Number(step) + (row.field === "start" ? 1 : 0));
