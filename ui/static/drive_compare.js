// Two runs side by side: one scrubber moves both along their own steps, a table says where they differ.
import { fill, h } from "./dom.js";
import { endChip } from "./drive_end.js";
import { makeRunPath } from "./drive_path.js";
import { makeCursor, makePlayback, replayCameras } from "./drive_replay.js";
import { makeScrubber } from "./drive_scrubber.js";

const SIDES = ["a", "b"];

export function makeComparison(left, right, table) {
  const sides = [left, right].map((loaded) => {
    const cursor = makeCursor(loaded);
    return { loaded, cursor, whole: cursor.all(), cameras: replayCameras(loaded), doing: h("p", { class: "vs-doing-now" }) };
  });
  // Both begin at 0 s; the clock of the longer one leads, the other waits at its end.
  const longest = sides[0].cursor.seconds(sides[0].cursor.count() - 1) >= sides[1].cursor.seconds(sides[1].cursor.count() - 1) ? sides[0] : sides[1];
  const path = makeRunPath(() => sides.map(({ whole, cursor }) => ({ run: whole, upTo: cursor.step() })));
  const playback = makePlayback({
    count: longest.cursor.count, seconds: longest.cursor.seconds,
    at: (step) => { for (const side of sides) drawSide(side, stepAt(side.cursor, longest.cursor.seconds(step))); path.draw(); },
    changed: (step, playing) => scrubber.draw(step, longest.cursor.count(), longest.cursor.seconds(step), playing),
  });
  const scrubber = makeScrubber(() => playback);
  const element = h("div", { class: "vs-compare" }, h("div", { class: "vs-pair" }, sides.map(column)), scrubber.element, h("div", { class: "vs-compare-foot" }, path.element, h("div", { class: "vs-tables" }, facts(table), cycles(table))));
  playback.set(0);
  return { id: "", element, playback, step: playback.step, close: () => playback.toggle(false) };
}

function stepAt(cursor, seconds) {
  let step = 0;
  while (step < cursor.count() - 1 && cursor.seconds(step + 1) <= seconds + 1e-6) step++;
  return step;
}

function drawSide({ cursor, cameras, doing }, step) {
  const run = cursor.seek(step), group = run.groups.at(-1), cycle = group?.cycles.at(-1);
  cameras.draw(step);
  fill(doing, h("b", { class: "subtask" }, group ? `${group.index + 1} ${group.text}` : "…"), h("span", { class: "plan" }, cycle?.plan || ""), h("code", {}, cycle?.rows.find((row) => row.state === "now")?.text || cycle?.rows.at(-1)?.text || ""));
}

const column = ({ loaded, cameras, doing }, index) => h("section", { class: `vs-side ${SIDES[index]}` }, h("header", {}, h("b", { class: "vs-side-name" }, SIDES[index].toUpperCase()), h("span", {}, loaded.info.instruction), endChip(loaded.info.end)), cameras.element, doing);

const shown = (value) => (value === null || value === undefined || value === "" ? "–" : typeof value === "number" ? String(+value.toFixed(2)) : String(value));

function facts(table) {
  if (!table.rows) return h("p", { class: "vs-problem" }, table.error || "");
  return h("table", { class: "vs-facts" }, h("thead", {}, h("tr", {}, h("th", {}, ""), h("th", {}, "A"), h("th", {}, "B"))), h("tbody", {}, table.rows.map((row) => h("tr", { class: row.same ? "" : "differs" }, h("th", { scope: "row" }, row.name), h("td", {}, shown(row.a)), h("td", {}, shown(row.b))))));
}

function cycles(table) {
  if (!table.cycles?.length) return null;
  const cell = (cycle) => h("td", {}, cycle ? [h("b", {}, cycle.subtask), h("span", {}, cycle.plan), h("code", {}, cycle.chunk), h("small", {}, cycle.outcome)] : "–");
  return h("table", { class: "vs-facts cycles" }, h("thead", {}, h("tr", {}, h("th", {}, "cycle"), h("th", {}, "A"), h("th", {}, "B"))), h("tbody", {}, table.cycles.map(({ a, b }, index) => h("tr", {}, h("th", { scope: "row" }, String(index + 1)), cell(a), cell(b)))));
}
