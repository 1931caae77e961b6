// The trace of a run: subtasks, and in each the cycles of plan, chunk, approval, rows and verdict. Finished cycles fold to one
// line; only what changed is drawn again, so that nothing that is being read jumps. Draws any run of `drive_run.js`.
import { button, fill, h } from "./dom.js";
import { seconds } from "./drive_numbers.js";
import { cycleBody, cycleLine, tryNodes } from "./trace_cycle.js";

const SIGNS = { done: "✓", now: "▶", todo: "□", left: "■" };
const ROOM = 48; // pixels kept below the row that moves

// frames: (step) => [{title, src}], for the pictures of a verdict. empty: a node to show when there is no run.
export function makeTrace({ frames, empty }) {
  const list = h("div", { class: "vs-trace-list", tabindex: "0", role: "log", "aria-label": "Trace of the run" });
  const jump = button("Back to now", "", () => { following = true; scroll(); }, { class: "small vs-trace-jump", hidden: true });
  const element = h("section", { class: "vs-trace", "aria-label": "Trace" }, list, jump);
  const body = h("div", {}), tail = h("div", {});
  let drawn = null, groups = [], cycles = new Map(), rest = "", following = true, settled = 0;

  // The current subtask at the top with its plan under it; when that is too long, the row that moves.
  function scroll() {
    const group = groups[(drawn?.groups.length || 0) - 1]?.node, row = group?.querySelector("[aria-current]");
    list.scrollTop = group && !drawn.ended ? group.offsetTop : list.scrollHeight;
    if (row) list.scrollTop = Math.max(list.scrollTop, row.offsetTop + row.offsetHeight + ROOM - list.clientHeight);
    jump.hidden = true;
    settled = list.scrollTop;
  }
  list.addEventListener("scroll", () => {
    following = Math.abs(list.scrollTop - settled) < 4 || list.scrollHeight - list.scrollTop - list.clientHeight < 4;
    jump.hidden = following || !drawn || Boolean(drawn.ended);
  });

  function reset(run) {
    drawn = run;
    groups = [];
    cycles = new Map();
    rest = "";
    following = true;
    fill(list, run ? [body, tail] : empty);
    fill(body);
  }

  function groupNode(group, index) {
    if (groups[index]?.group === group) return groups[index];
    const head = h("header", {}), inner = h("div", {}), node = h("article", {}, head, inner);
    body.append(node);
    return (groups[index] = { group, node, head, inner, shown: "" });
  }

  function drawGroup(run, group, index) {
    const known = groupNode(group, index), last = index === run.groups.length - 1;
    const state = group.done ? "done" : last ? (run.ended ? "left" : "now") : "left";
    const how = group.done ? `verified ${seconds(group.ended - group.at)}` : last && !run.ended ? "now" : "not done";
    const said = group.again ? `again, ${how}` : how;
    if (known.shown !== `${state} ${said}`) {
      known.shown = `${state} ${said}`;
      known.node.className = `vs-subtask ${state}`;
      fill(known.head, h("i", { "aria-hidden": "true" }, SIGNS[state]), h("b", {}, `${index + 1}`), h("span", { class: "vs-subtask-text" }, group.text || run.instruction), h("small", {}, said));
    }
    return group.cycles.map((cycle, place) => drawCycle(run, cycle, known.inner, last && place === group.cycles.length - 1)).some(Boolean);
  }

  // True when the cycle was drawn anew.
  function drawCycle(run, cycle, inner, current) {
    let known = cycles.get(cycle);
    const live = current && !run.ended, key = `${cycle.version} ${live} ${current}`;
    if (known?.key === key) return false;
    if (!known) {
      const summary = h("summary", {}), content = h("div", {}), node = h("details", { class: "vs-cycle" }, summary, content);
      known = { node, summary, content, pinned: false };
      summary.addEventListener("click", () => { known.pinned = true; });
      cycles.set(cycle, known);
      inner.append(node);
    }
    known.key = key;
    if (!known.pinned) known.node.open = current;
    fill(known.summary, cycleLine(cycle, live));
    const open = new Set([...known.content.querySelectorAll("details[open]")].map((node) => node.dataset.part));
    fill(known.content, cycleBody(run, cycle, live, frames));
    for (const node of known.content.querySelectorAll("details")) if (open.has(node.dataset.part)) node.open = true;
    return true;
  }

  // What is still to do; before the first cycle, the subtasks as they are written.
  function drawRest(run) {
    const streaming = !run.groups.length && run.streaming?.text, key = JSON.stringify([run.upcoming, run.groups.length, Boolean(run.ended), streaming, run.tries.length]);
    if (key === rest) return false;
    rest = key;
    const before = !run.groups.length && h("article", { class: "vs-subtask now" }, h("header", {}, h("i", {}, "…"), h("span", { class: "vs-subtask-text vs-dim" }, run.ended ? "Nothing was written" : "Writing the subtasks")), streaming && h("pre", { class: "vs-raw live" }, streaming), tryNodes(run.tries));
    fill(tail, before, run.upcoming.map((text, index) => h("article", { class: "vs-subtask todo" }, h("header", {}, h("i", { "aria-hidden": "true" }, SIGNS.todo), h("b", {}, String(run.groups.length + index + 1)), h("span", { class: "vs-subtask-text" }, text), h("small", {}, "to do")))));
    return true;
  }

  function draw(run) {
    if (run !== drawn || !list.firstChild) reset(run);
    if (!run) return;
    const changed = [...run.groups.map((group, index) => drawGroup(run, group, index)), drawRest(run)].some(Boolean);
    if (changed && following) scroll();
  }

  return { element, draw };
}
