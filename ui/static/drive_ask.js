// Below the trace: what the robot waits for. A question with its countdown, the line of somebody who types motions, a changed
// plan or action, a correction in words; afterwards how it went.
import { button, debounce, fill, h, plural } from "./dom.js";
import { actions, HOLD_OFF_MS, questionCame } from "./drive_actions.js";
import { canDrive, needs, operator, policyOf, underWay } from "./drive_choice.js";
import { endCard } from "./drive_end.js";
import { command, live, now, post } from "./drive_live.js";
import { placeOf } from "./drive_run.js";
import { on } from "./store.js";

const WHAT = { chunk: "Action", plan: "Plan", subtask: "Subtask" };
const TICK_MS = 100;

export function makeAsk() {
  const bar = h("i", {}), timer = h("div", { class: "vs-countdown", hidden: true }, bar), message = h("p", { class: "vs-ask-text" }), flags = h("ul", { class: "vs-flags" });
  const approve = button("Approve", "Enter", actions.approve, { class: "primary vs-approve" }), refuse = button("Refuse", "R", actions.refuse);
  const again = button("Ask again", "Enter", actions.approve, { class: "primary" }), edit = button("Edit", "E", actions.edit, { title: "Change the action, the plan or the subtask and go on from there (E)" });
  const buttons = h("div", { class: "vs-inline vs-ask-buttons" }, approve, again, refuse, edit);
  const correction = sayLine("Say a correction", "a little more to the left · move up 2 cm", (text) => command("edit", { what: "correction", text, at: placeOf(live.run) }), "C");
  const typing = sayLine("Next motion", "move forward 4 cm, then close the gripper", (text) => command("type", { text }), "T", { read: true, done: () => command("type", { text: "", done: true }) });
  const editing = makeEditor(), ended = endCard();
  const element = h("section", { class: "vs-ask", "aria-label": "What the robot waits for" }, timer, message, flags, buttons, typing.element, editing.element, correction.element, ended.element);
  let question = "", said = "", held = 0, seeing = "";

  function draw() {
    const run = live.state?.run, shown = live.run;
    element.hidden = !live.state?.robot || !run;
    if (element.hidden) return;
    const asked = run.state === "asking" ? shown?.question : null, mine = canDrive() && underWay();
    if ((asked?.key || "") !== question) { question = asked?.key || ""; if (question) holdOff(); editing.close(); }
    const key = JSON.stringify([run.id, run.state, asked?.key, asked?.veto, mine, operator()?.name, shown?.streaming?.level]);
    if (key !== said) {
      said = key;
      fill(message, sentence(run, asked, mine));
      fill(flags, (asked?.flags || []).map((flag) => h("li", {}, flag)));
    }
    approve.hidden = refuse.hidden = !asked || !mine;
    approve.firstChild.textContent = asked?.counts ? "Go now" : "Approve";
    refuse.firstChild.textContent = asked?.counts ? "Veto" : "Refuse";
    again.hidden = run.state !== "held" || !mine;
    edit.hidden = !mine || run.state === "typing";
    typing.element.hidden = run.state !== "typing" || !mine;
    correction.element.hidden = !mine || run.state === "typing" || editing.open();
    buttons.hidden = editing.open() || ![approve, again, edit].some((node) => !node.hidden);
    ended.draw(run, shown);
    element.dataset.state = asked ? "asking" : run.state;
    tick();
  }

  function holdOff() {
    questionCame();
    approve.disabled = true;
    clearTimeout(held);
    held = setTimeout(() => { approve.disabled = false; }, HOLD_OFF_MS + 20);
  }

  // A countdown begins when the operator's page has drawn its question: a page in the background draws nothing.
  function see(key) {
    if (seeing === key) return;
    seeing = key;
    requestAnimationFrame(() => post("seen", { key }).finally(() => { seeing = ""; }));
  }

  function tick() {
    const asked = live.state?.run?.state === "asking" ? live.run?.question : null;
    timer.hidden = !asked;
    if (!asked) return;
    if (asked.counts && !asked.veto && live.mine) see(asked.key);
    const end = asked.veto ?? asked.expires, left = Math.max(0, end - now()), whole = Math.max(0.1, end - asked.asked);
    bar.style.transform = `scaleX(${Math.min(1, left / whole).toFixed(3)})`;
    timer.dataset.kind = asked.veto ? "veto" : "expires";
    timer.title = asked.veto ? `Carried out in ${left.toFixed(1)} s` : `The question expires in ${left.toFixed(0)} s`;
    const text = `${left.toFixed(left < 10 ? 1 : 0)} s`, node = message.querySelector("[data-left]");
    if (node && node.textContent !== text) node.textContent = text;
  }

  on("drive:state", draw);
  on("drive:run", draw);
  on("drive:line", draw);
  on("drive:runs", draw);
  on("drive:edit", () => { if (!edit.hidden) { editing.show(live.run); draw(); } });
  addEventListener("vs-edited", draw);
  on("drive:correct", () => (typing.element.hidden ? correction : typing).focus());
  setInterval(tick, TICK_MS);
  return { element };
}

// What the robot waits for, as a sentence; the seconds are filled in by the clock.
function sentence(run, asked, mine) {
  const left = h("b", { dataset: { left: "1" } });
  if (run.state === "ended") return null;
  if (!mine) return `${operator()?.name || "Somebody"} drives; you watch. STOP works for everybody.`;
  if (asked?.counts && !asked.veto) return h("b", {}, `${plural(asked.rows.length, "row")} go unless you veto, once you see this.`);
  if (asked?.veto) return [h("b", {}, `${plural(asked.rows.length, "row")} go in `), left, " unless you veto."];
  if (asked) return [h("b", {}, asked.edited ? "Carry out the changed action? " : `Carry out ${plural(asked.rows.length, "row")}? `), "Nothing moves before your yes. ", left];
  if (run.state === "typing") return h("b", {}, "Waits for your words.");
  if (run.state === "held") return h("b", {}, "The question expired. The robot holds still.");
  if (run.state === "stopping") return "Stopping…";
  return h("span", { class: "vs-dim" }, live.run?.streaming ? `Writing the ${live.run.streaming.level}…` : "Working…");
}

// A line of words that is sent with Enter; what would happen stands below while it is typed.
function sayLine(label, placeholder, send, key, { read = false, done = null } = {}) {
  const input = h("input", { type: "text", "aria-label": label, placeholder, maxlength: 2000, autocomplete: "off" }), preview = h("p", { class: "vs-preview", role: "status", hidden: !read });
  const node = h("form", { class: "vs-say", onsubmit: async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text && (await send(text))) { input.value = ""; fill(preview); }
  } }, h("label", {}, h("span", {}, label), h("kbd", {}, key)), input, button("Send", "Enter", null, { type: "submit", class: "small" }), done && button("Done", "", done, { class: "small", title: "End the run" }), preview);
  if (read) input.addEventListener("input", debounce(200, () => readInto(preview, input.value)));
  return { element: node, focus: () => input.focus() };
}

// What a text means, without moving anything.
async function readInto(node, text) {
  if (!text.trim()) { fill(node); return; }
  const { ok, error } = await post("read", { text });
  node.className = `vs-preview ${error ? "vs-problem" : ""}`;
  if (error) { fill(node, error); return; }
  const touched = ok.judged.findIndex((judged) => judged.verdict !== "pass");
  fill(node, ok.says.join(" → "), touched >= 0 && h("b", { class: "vs-apart" }, ` · row ${touched + 1}: ${ok.judged[touched].message}`));
}

// Change one level of the question that waits, or of the cycle to come.
function makeEditor() {
  const box = h("textarea", { rows: 2, "aria-label": "Changed text", spellcheck: "false" }), preview = h("p", { class: "vs-preview", role: "status" }), why = h("p", { class: "vs-dim" });
  const tabs = h("div", { class: "vs-modes", role: "group", "aria-label": "What to change" }, Object.entries(WHAT).map(([name, label]) => h("button", { type: "button", dataset: { what: name }, onclick: () => choose(name) }, label)));
  const send = button("Use this", "Enter", () => submit(), { class: "primary" }), cancel = button("Cancel", "", () => close());
  const element = h("div", { class: "vs-editor", hidden: true }, tabs, box, preview, why, h("div", { class: "vs-inline" }, send, cancel));
  let what = "chunk", run = null, at = null;

  const texts = () => {
    const cycle = run?.groups.at(-1)?.cycles.at(-1);
    return { chunk: cycle?.chunk?.text || "", plan: cycle?.plan || "", subtask: run?.groups.at(-1)?.text || "" };
  };

  function choose(name) {
    what = name;
    at = placeOf(run);
    box.value = texts()[name];
    box.classList.toggle("mono", name === "chunk");
    for (const node of tabs.children) {
      node.setAttribute("aria-pressed", node.dataset.what === name);
      node.disabled = node.dataset.what !== "chunk" && !policyOf(live.state?.run?.policy)?.steerable;
    }
    const fixed = !policyOf(live.state?.run?.policy)?.steerable;
    fill(why, fixed ? `The words of this policy (${live.state?.run?.policy_title}) do not steer it; only its action can be changed.` : "");
    fill(preview);
    if (name === "chunk") readInto(preview, box.value);
    box.focus();
  }

  async function submit() {
    const text = box.value.trim();
    if (text && (await command("edit", { what, text, at }))) close();
  }

  function close() {
    element.hidden = true;
    run = null;
    box.blur();
    draw();
  }
  const draw = () => queueMicrotask(() => dispatchEvent(new Event("vs-edited")));

  box.addEventListener("input", debounce(200, () => { if (what === "chunk") readInto(preview, box.value); }));
  box.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); } });
  return { element, open: () => !element.hidden, close: () => { if (!element.hidden) close(); }, show: (shown) => { run = shown; element.hidden = false; choose("chunk"); } };
}
