// The right side: the selected subtask, its plan and its action rows, each editable, each beside what the numbers say.
import { actions } from "./actions.js";
import { button, fill, h, plural } from "./dom.js";
import { editor } from "./editor.js";
import { historyList } from "./history.js";
import { makeReview } from "./verdict.js";
import { call, change, emit, on, register, save, spanIndex, spanOf, state } from "./store.js";
import { noLabels } from "./welcome.js";
import { diffNode } from "./words.js";

const NAMES = { subtask: "Subtask", plan: "Motion plan", chunk: "Action chunk" };
const TIPS = {
  subtask: "What the robot does in these steps, as a person would say it",
  plan: "How the end-effector moves, in words: the level between the subtask and the numbers",
  chunk: "The motion as text, one row per movement: [forward, left, up, gripper] in centimetres; gripper 1 open, 0 closed",
};

export function mountInspector(element, server) {
  const head = h("header", { class: "vs-inspect-head" });
  const fields = { subtask: textLevel("subtask"), plan: textLevel("plan"), chunk: chunkLevel() };
  const findings = h("ul", { class: "vs-findings" });
  const past = h("details", { class: "vs-history" }, h("summary", {}, "History"), h("div", {}));
  past.addEventListener("toggle", () => drawHistory());
  const verdict = makeReview();
  const form = h("div", { class: "vs-form" }, fields.subtask.element, fields.plan.element, fields.chunk.element, findings, past);
  const instead = h("div", { class: "vs-instead" });
  fill(element, h("div", { class: "vs-inspector" }, head, form, verdict.element, instead));

  function draw() {
    const view = state.view, span = spanOf(state.span);
    head.hidden = form.hidden = verdict.element.hidden = !span;
    instead.hidden = Boolean(span);
    if (view && !span) { if (!instead.querySelector(".vs-nolabels")) fill(instead, noLabels()); return; }
    if (!span) { fill(instead); return; }
    drawHead(span);
    for (const field of Object.values(fields)) field.draw(span);
    fill(findings, span.findings.map((finding) => h("li", { class: finding.severity }, finding.message)));
    findings.hidden = !span.findings.length;
    verdict.draw(span);
    drawHistory();
  }

  function drawHead(span) {
    fill(head, button("‹", "K", () => actions.neighbour(-1), { class: "icon", title: "Previous subtask (K)", "aria-label": "Previous subtask" }),
      h("b", {}, `Subtask ${spanIndex() + 1} of ${state.view.spans.length}`),
      button("›", "J", () => actions.neighbour(1), { class: "icon", title: "Next subtask (J)", "aria-label": "Next subtask" }),
      h("span", { class: "vs-dim" }, `steps ${span.start + 1}–${span.end}${span.edits ? ` · ${plural(span.edits, "edit")}` : ""}`),
      h("span", { class: `vs-status ${span.status}`, title: span.reason }, span.status.replace("_", " ")));
  }

  function drawHistory() {
    const entries = state.view?.history || [];
    past.hidden = !entries.length;
    fill(past.firstChild, `History (${plural(entries.length, "revision")})`);
    if (past.open) fill(past.lastChild, historyList(entries, state.view.revision, (number) => change("revert", { to: number })));
  }

  on("view", draw);
  on("span", () => { form.scrollTop = 0; draw(); });
  on("focus", (level) => fields[level]?.focus());
  register(server);
  draw();
}

// What all three levels share: title, source, rating, the text of the numbers when stale, the machine's value.
function frameOf(level, ...inner) {
  const source = h("span", { class: "vs-source" }), stars = h("span", { class: "vs-stars", role: "radiogroup", "aria-label": `Rating of the ${level}` });
  const stale = h("div", { class: "vs-stale" }), machine = h("div", { class: "vs-machine" });
  const element = h("section", { class: `vs-level ${level}` }, h("header", {}, h("h2", { title: TIPS[level] }, NAMES[level]), source, stars), ...inner, stale, machine);

  function draw(span) {
    fill(source, { person: "edited", gemini: "Gemini", kinematic: "from the numbers" }[span.sources[level]] || span.sources[level] || "");
    fill(stars, [1, 2, 3, 4, 5].map((score) => star(span, score)));
    drawStale(span);
    drawMachine(span);
  }

  function star(span, score) {
    const given = span.ratings?.[level] || 0;
    return h("button", { type: "button", role: "radio", "aria-checked": given === score, "aria-label": `${score} of 5`, title: `Rate the ${level} ${score} of 5`, class: score <= given ? "on" : "",
      onclick: () => rate(span, level, score) }, score <= given ? "★" : "☆");
  }

  function drawStale(span) {
    const isStale = span.stale.includes(level) && level !== "subtask";
    element.classList.toggle("isstale", isStale);
    stale.hidden = !isStale;
    if (isStale) fill(stale, h("div", {}, "Written for other boundaries. For these steps the numbers say:"), h("p", {}, span.derived[level]), button("Take it", "Enter", actions.takeDerived, { class: "small" }));
  }

  function drawMachine(span) {
    const field = level === "subtask" ? "text" : level;
    const value = span.machine?.[field];
    const differs = Boolean(value) && value !== span[field];
    machine.hidden = !differs;
    if (!differs) return;
    fill(machine, h("span", { class: "vs-dim" }, span.machine.source === "gemini" ? "Gemini wrote: " : "The machine wrote: "), diffNode(value, span[field]),
      button("Revert", "", () => save({ kind: "set_text", uid: span.uid, level, text: value }), { class: "small", title: "Put the machine's text back" }));
  }

  return { element, draw };
}

async function rate(span, level, score) {
  span.ratings = { ...span.ratings, [level]: score };
  emit("view", {});
  const answer = await call("rate", { episode: state.view.id, uid: span.uid, level, score });
  if (answer.error) emit("problem", answer.error);
}

function agreement(good, text) {
  const mark = good === null ? "" : good ? "✓" : "✗";
  return [h("span", { class: good === null ? "" : good ? "vs-yes" : "vs-no" }, mark), " ", text].flat();
}

function textLevel(level) {
  const box = editor((text, uid) => save({ kind: "set_text", uid, level, text }), NAMES[level]);
  const numbers = h("div", { class: "vs-numbers" });
  const frame = frameOf(level, box.element, level === "plan" && numbers);
  return {
    element: frame.element,
    focus: box.focus,
    draw: (span) => {
      box.draw(span.uid, level === "subtask" ? span.text : span.plan);
      const disagrees = span.plan_agrees === false || span.findings.some((finding) => finding.code.includes("plan") && finding.severity !== "info");
      const good = span.stale.includes("plan") ? null : !disagrees;
      fill(numbers, agreement(good, [h("span", { class: "vs-dim" }, "numbers say "), [span.numbers, span.gripper_numbers].filter(Boolean).join(", ")]));
      numbers.title = good === null ? "" : good ? "The words agree with the recorded motion" : "The words disagree with the recorded motion";
      frame.draw(span);
    },
  };
}

function chunkLevel() {
  const rows = h("div", { class: "vs-rows" }), problem = h("div", { class: "vs-problem", role: "alert" }), error = h("div", { class: "vs-numbers" });
  const whole = editor((text, uid) => save({ kind: "set_text", uid, level: "chunk", text }), "Action chunk");
  const add = button("Add row", "", () => addRow(), { class: "small" });
  const frame = frameOf("chunk", problem, rows, whole.element, h("div", { class: "vs-chunk-foot" }, error, add));
  let boxes = [], shown = null;

  const byRow = (span) => state.view.action_form.startsWith("rows") && !span.chunk_problem;
  const texts = () => boxes.map((box) => box.value()).filter((text) => text.trim());
  const write = (list, uid) => save({ kind: "set_text", uid, level: "chunk", text: `[${list.join(", ")}]` });

  function rowNode(index) {
    const box = editor(() => write(texts(), shown.uid), `Row ${index + 1}`, { mono: true });
    const says = h("span", { class: "vs-says" });
    const drop = h("button", { type: "button", class: "vs-drop", title: "Remove this row", "aria-label": `Remove row ${index + 1}`, onclick: () => write(shown.rows.filter((_, other) => other !== index).map((row) => row.text), shown.uid) }, "×");
    return Object.assign(box, { says, node: h("div", { class: "vs-row" }, box.element, says, drop) });
  }

  function addRow() {
    const last = shown.rows[shown.rows.length - 1];
    const values = last ? last.text.replace(/-?\d+(\.\d+)?(?=.*,)/g, "0") : state.view.action_form.startsWith("rows7") ? "[0, 0, 0, 0, 0, 0, 1]" : "[0, 0, 0, 1]";
    write([...shown.rows.map((row) => row.text), values], shown.uid);
  }

  function draw(span) {
    shown = span;
    const separate = byRow(span);
    rows.hidden = !separate && !span.rows.length;
    whole.element.hidden = separate;
    add.hidden = !separate;
    if (separate) drawRows(span);
    else { whole.draw(span.uid, span.chunk); boxes = []; fill(rows, span.rows.map((row) => h("div", { class: "vs-row plain" }, h("code", {}, row.text), h("span", { class: "vs-says" }, row.says)))); }
    problem.hidden = !span.chunk_problem;
    fill(problem, span.chunk_problem || "");
    drawError(span);
    frame.draw(span);
  }

  function drawRows(span) {
    if (boxes.length !== span.rows.length) {
      boxes = span.rows.map((_, index) => rowNode(index));
      fill(rows, boxes.map((box) => box.node));
    }
    span.rows.forEach((row, index) => {
      boxes[index].draw(`${span.uid}/${index}`, row.text);
      fill(boxes[index].says, row.says);
    });
  }

  function drawError(span) {
    if (span.chunk_error_cm === null || span.chunk_error_cm === undefined) { fill(error); return; }
    const good = span.stale.includes("chunk") ? null : span.chunk_error_cm <= 1;
    const degrees = span.chunk_error_deg === null || span.chunk_error_deg === undefined ? "" : `, ${span.chunk_error_deg}°`;
    fill(error, agreement(good, [h("span", { class: "vs-dim" }, "adds up to within "), `${span.chunk_error_cm.toFixed(1)} cm${degrees}`, h("span", { class: "vs-dim" }, " of the recording")]));
  }

  return { element: frame.element, draw, focus: () => (boxes[0] || whole).focus() };
}
