// One cycle of a trace: what was written at each level, what the safety rules said, what the robot did, and how long it took.
import { h, plural } from "./dom.js";
import { loadPicture } from "./drive_cameras.js";
import { missed } from "./drive_run.js";
import { motion, seconds, total } from "./drive_numbers.js";

const SIGNS = { todo: "○", now: "◀", done: "✓", refused: "✕", contact: "●", clipped: "◆", timeout: "✕", fault: "✕", stopped: "■", runstop: "■" };
const STATES = { todo: "waits", now: "now", done: "done", refused: "refused", contact: "contact", clipped: "joint limit", timeout: "timed out", fault: "fault", stopped: "stopped", runstop: "run-stop" };
const STAGES = [["plan", "plan"], ["chunk", "chunk"], ["asked", "approval"], ["moved", "motion"], ["judged", "verdict"]];
const LEVELS = { plan: "Plan", chunk: "Chunk" };

// The one line that stays when a cycle folds.
export function cycleLine(cycle, live) {
  const moved = cycle.rows.filter((row) => row.measured), all = cycle.rows.length;
  const parts = [h("span", { class: "vs-cycle-number" }, `cycle ${cycle.number + 1}`)];
  if (live) return parts;
  parts.push(h("span", { class: "vs-cycle-plan" }, cycle.plan || (cycle.gaveUp ? "gave up" : "no plan")));
  if (cycle.decided && !cycle.decided.approved) parts.push(h("span", { class: "vs-chip warn" }, "not carried out"));
  else if (all) parts.push(h("span", { class: `vs-chip ${moved.length === all ? "" : "warn"}` }, `${moved.length} of ${plural(all, "row")}`));
  if (cycle.tries.length) parts.push(h("span", { class: "vs-chip warn" }, plural(cycle.tries.length, "retry").replace("retrys", "retries")));
  if (cycle.verdict) parts.push(h("span", { class: `vs-chip ${cycle.verdict.done ? "good" : ""}` }, cycle.verdict.done ? "done ✓" : "not yet"));
  return parts;
}

export function cycleBody(run, cycle, live, frames) {
  const streaming = live ? run.streaming : null;
  return [
    cycle.edits.map((edit) => h("p", { class: "vs-edit-note" }, h("b", {}, edit.by || "Somebody"), ` changed the ${edit.what}: `, h("q", {}, edit.text))),
    cycle.typed && h("p", { class: "vs-edit-note" }, h("b", {}, cycle.typedBy || "Somebody"), " typed ", h("q", {}, cycle.typed)),
    planNode(cycle, streaming), chunkNode(cycle, streaming), cycle.gaveUp && h("p", { class: "vs-safety refused" }, `Gave up, the robot holds still: ${cycle.gaveUp}`),
    verdictNode(cycle, frames), timings(cycle),
  ];
}

function level(name, ...children) {
  return h("div", { class: `vs-level ${name}` }, children);
}

const header = (name, ...rest) => h("header", {}, h("h2", {}, LEVELS[name]), rest);

function planNode(cycle, streaming) {
  const writing = streaming?.level === "plan";
  const text = writing ? streaming.text : cycle.plan;
  return level("plan", header("plan", cycle.planSource === "person" && h("span", { class: "vs-source" }, "said by a person")),
    h("p", { class: `vs-plan-text ${writing ? "live" : ""}` }, text || "…"), numbersNode(cycle));
}

// Words beside numbers: what the rows of the chunk add up to, and whether the plan says the same.
function numbersNode({ numbers, rows }) {
  if (!rows.length) return null;
  const text = numbers?.text || motion(total(rows.map((row) => row.asked)), { gripper: false });
  return h("p", { class: "vs-numbers" }, h("span", { class: "vs-dim" }, `numbers: ${text}`),
    numbers?.agrees === true && h("b", { class: "vs-yes", title: "The plan says what the numbers say" }, " ✓"), numbers?.agrees === false && h("b", { class: "vs-no", title: "The plan does not say what the numbers say" }, " ✕ the plan says something else"));
}

function chunkNode(cycle, streaming) {
  const writing = streaming?.level === "chunk";
  if (!cycle.chunk && !writing && !cycle.tries.length) return null;
  return level("chunk", header("chunk", note(cycle)), tryNodes(cycle.tries), writing && h("pre", { class: "vs-raw live", "aria-label": "Text as it is written" }, streaming.text),
    cycle.rows.length > 0 && !cycle.rows[0].text && h("p", { class: "mono vs-sentence" }, cycle.chunk?.text),
    cycle.rows.length > 0 && h("ol", { class: "vs-chunk-rows" }, cycle.rows.map(rowNode)), sums(cycle), refusal(cycle),
    cycle.chunk?.raw && h("details", { class: "vs-raw-fold", dataset: { part: "raw" } }, h("summary", {}, "raw text"), h("pre", { class: "vs-raw" }, cycle.chunk.raw)));
}

function note(cycle) {
  const parts = [];
  if (cycle.chunk) parts.push(plural(cycle.rows.length, "row"));
  if (cycle.chunk?.attempts > 1) parts.push(`try ${cycle.chunk.attempts}`);
  if (cycle.chunk?.source === "person") parts.push("changed by a person");
  return h("span", { class: "vs-source" }, parts.join(" · "));
}

function refusal(cycle) {
  const { decided, answer } = cycle;
  if (!decided || decided.approved) return null;
  return h("p", { class: "vs-safety refused" }, `Not carried out${answer?.by ? ` by ${answer.by}` : ""}: ${decided.reason || answer?.reason || "refused"}`);
}

// A text that was not action language, and why; it was written again.
export function tryNodes(tries) {
  return tries.map(({ attempt, raw, problem }) => h("details", { class: "vs-try", dataset: { part: `try-${attempt}` } },
    h("summary", {}, h("b", {}, `Try ${attempt} did not parse`), ` ${problem}`), h("pre", { class: "vs-raw" }, raw)));
}

function rowNode(row, index) {
  const { state = "todo", judged } = row;
  const did = row.measured ? `did ${row.did || motion(row.measured, { gripper: false })}` : state === "now" ? "moving" : "";
  return h("li", { class: `vs-chunk-row ${state}`, "aria-current": state === "now" ? "step" : null },
    h("i", { title: STATES[state] }, SIGNS[state] || "○"), h("code", {}, row.text || `row ${index + 1}`), h("span", { class: "vs-says" }, row.says || motion(row.asked)),
    h("span", { class: "vs-did", title: row.seconds ? seconds(row.seconds) : "" }, did, state !== "done" && row.outcome && h("em", {}, ` ${STATES[state]}`)),
    judged && judged.verdict !== "pass" && h("p", { class: `vs-safety ${judged.verdict}` }, h("b", {}, `Safety ${judged.verdict === "clamped" ? "shortened it" : "refused it"} (${judged.rule}): `), judged.message),
    row.message && row.outcome !== "reached" && h("p", { class: "vs-safety refused" }, row.message));
}

// Words beside numbers for the whole chunk: what it asked for, what the robot did, how far apart.
function sums(cycle) {
  const moved = cycle.rows.filter((row) => row.measured), apart = missed(cycle);
  if (apart === null) return null;
  return h("p", { class: "vs-sums" }, h("span", {}, h("i", { class: "vs-dash" }), `asked ${motion(total(moved.map((row) => row.asked)), { gripper: false })}`),
    h("span", {}, h("i", { class: "vs-solid" }), `did ${motion(total(moved.map((row) => row.measured)), { gripper: false })}`), h("b", { class: apart < 0.5 ? "vs-yes" : "vs-apart" }, `${apart.toFixed(1)} cm apart`));
}

function verdictNode(cycle, frames) {
  const { verdict } = cycle;
  if (!verdict) return null;
  const picture = (step, title) => frames(step).slice(0, 1).map(({ src }) => {
    const image = h("img", { alt: `${title} the chunk` });
    loadPicture(src).then((found) => { if (found) image.src = src; });
    return h("figure", {}, image, h("figcaption", {}, title));
  });
  const shown = verdict.before !== undefined && verdict.before !== null && verdict.after !== undefined && verdict.after !== null;
  return h("div", { class: `vs-judgement ${verdict.done ? "done" : ""}` }, shown && h("div", { class: "vs-before-after" }, picture(verdict.before, "before"), picture(verdict.after, "after")),
    h("p", {}, h("b", {}, verdict.done ? "✓ Subtask done" : "Not done yet"), verdict.reason && h("span", { class: "vs-dim" }, ` ${verdict.reason}`)));
}

// Where the time went, as a bar and in words.
function timings(cycle) {
  const spent = STAGES.map(([key, name]) => [key, name, cycle.took[key]]).filter(([, , value]) => value !== undefined && value >= 0.05);
  if (!spent.length) return null;
  const whole = spent.reduce((sum, [, , value]) => sum + value, 0);
  return h("div", { class: "vs-timings" }, h("div", { class: "vs-timing-bar", "aria-hidden": "true" }, spent.map(([key, , value]) => h("i", { class: key, style: `width: ${(100 * value) / whole}%` }))),
    h("small", {}, spent.map(([, name, value]) => `${name} ${seconds(value)}`).join(" · ")));
}
