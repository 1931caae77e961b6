// One answer: its text, shaded by probability or underlined where it differs, how it ended, and what it says as an action.
import { fill, h, plural } from "./dom.js";
import { wordDiff } from "./words.js";

const ENDS = { length: "cut short", stopped: "stopped" };
const STATES = { loading: "Loading weights…", reading: "Reading…" };
const percent = (value) => (value >= 0.0995 ? `${(100 * value).toFixed(0)} %` : `${(100 * value).toPrecision(2)} %`);

// name: of the model, shown where answers stand below each other.
export function makeAnswer(name = "") {
  const state = h("div", { class: "vs-answer-state" }, h("i")), text = h("div", { class: "vs-answer-text" }), foot = h("footer", { class: "vs-answer-foot" });
  const problem = h("p", { class: "vs-problem" }), says = h("p", { class: "vs-answer-says" });
  const element = h("article", { class: "vs-answer" }, h("div", { class: "vs-answer-name" }, name), state, text, problem, says, foot);
  let drawn = 0, mode = "";

  // answer: as stored or as it is being written; marks: [[from, to], …] characters that differ, or null.
  function draw(answer, { probabilities = false, marks = null } = {}) {
    element.dataset.end = answer ? answer.end : "none";
    if (!answer) { fill(text, h("span", { class: "vs-dim" }, "Not asked.")); fill(foot); mode = ""; for (const node of [state, problem, says]) node.hidden = true; return; }
    const writing = answer.end === "writing";
    state.hidden = !writing || Boolean(answer.text);
    fill(state, h("i"), STATES[answer.state] || STATES.reading);
    const wanted = probabilities && answer.tokens.length ? "tokens" : marks ? "marks" : "plain";
    if (wanted === "tokens" && mode === "tokens" && !marks && writing) grow(answer);
    else if (wanted === "tokens") { drawn = 0; fill(text); text.append(...tokenNodes(answer, marks)); drawn = answer.tokens.length; }
    else fill(text, marks ? marked(answer.text, marks) : answer.text);
    mode = wanted;
    setTokens(text, wanted === "tokens");
    text.classList.toggle("live", writing && Boolean(answer.text));
    text.classList.toggle("mono", /^\s*\[\[/.test(answer.text) || answer.says?.level === "chunk");
    problem.hidden = !answer.problem;
    fill(problem, answer.problem || "");
    says.hidden = !answer.says;
    if (answer.says) { says.className = `vs-answer-says ${answer.says.level} ${answer.says.ok ? "ok" : "no"}`; fill(says, h("i", { "aria-hidden": "true" }, answer.says.ok ? "✓" : "✗"), answer.says.text); }
    fill(foot, writing ? null : facts(answer).map((fact) => h("span", {}, fact)));
  }

  function grow(answer) {
    text.append(...answer.tokens.slice(drawn).map((token) => tokenNode(token)));
    drawn = answer.tokens.length;
  }

  return { element, draw };
}

function facts(answer) {
  const known = answer.tokens.filter(([, logprob]) => Number.isFinite(logprob));
  const mean = known.reduce((sum, [, logprob]) => sum + logprob, 0) / (known.length || 1);
  const rate = answer.tokens.length / Math.max(answer.seconds - answer.first_s, 1e-3);
  return [ENDS[answer.end], answer.tokens.length ? plural(answer.tokens.length, "token") : "", answer.seconds ? `${answer.seconds.toFixed(1)} s` : "", answer.tokens.length > 3 && answer.seconds > answer.first_s ? `${rate.toFixed(0)}/s` : "", known.length ? `mean p ${percent(Math.exp(mean))}` : ""].filter(Boolean);
}

// ---- where two answers differ

// Ranges of characters of `text` that `other` does not have.
export function differing(text, other) {
  const ranges = [];
  let at = 0;
  for (const part of wordDiff(other, text)) {
    if (part.kind === "gone") continue;
    const end = at + part.text.length;
    if (part.kind === "new" && part.text.trim()) ranges.push([at, end]);
    at = end;
  }
  return ranges;
}

function marked(text, ranges) {
  const nodes = [];
  let at = 0;
  for (const [from, to] of ranges) { nodes.push(text.slice(at, from), h("mark", {}, text.slice(from, to))); at = to; }
  return [...nodes, text.slice(at)];
}

// ---- tokens

function tokenNodes(answer, marks) {
  let at = 0;
  return answer.tokens.map((token) => {
    const from = at, to = at += token[0].length;
    return tokenNode(token, marks?.some(([start, end]) => start < to && end > from));
  });
}

export function tokenNode([text, logprob, alternatives = []], differs = false) {
  const known = Number.isFinite(logprob);
  const node = h("span", { class: `vs-token${differs ? " differs" : ""}`, style: known ? `--p:${Math.exp(logprob).toFixed(4)}` : null }, text);
  node.told = { text, logprob, alternatives };
  return node;
}

// A place with tokens can be walked through with the arrow keys; what is known of one stands in a small box beside it.
export function setTokens(node, on) {
  node.classList.toggle("vs-tokens", on);
  if (on) Object.assign(node, { tabIndex: 0, onmouseover: (event) => tell(event.target), onmouseleave: hush, onkeydown: walk, onblur: hush });
  else { node.removeAttribute("tabindex"); Object.assign(node, { onmouseover: null, onmouseleave: null, onkeydown: null, onblur: null }); }
}

let box = null, at = null;

function walk(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = [...event.currentTarget.querySelectorAll(".vs-token")];
  tell(all[Math.min(all.length - 1, Math.max(0, all.indexOf(at) + step))]);
}

function tell(node) {
  if (!node?.told) return;
  hush();
  at = node;
  node.classList.add("at");
  box ??= document.body.appendChild(h("div", { class: "vs-token-box vs-mount", role: "tooltip" }));
  const { text, logprob, alternatives } = node.told, shown = (value) => value.replaceAll("\n", "⏎").replaceAll(" ", "␣") || "(no text)";
  fill(box, h("div", {}, h("code", {}, shown(text)), h("b", {}, Number.isFinite(logprob) ? percent(Math.exp(logprob)) : "not told"), Number.isFinite(logprob) ? h("small", {}, `log p ${logprob.toFixed(2)}`) : null),
    alternatives?.length ? h("ol", {}, alternatives.map(([other, value]) => h("li", { class: other === text ? "taken" : "" }, h("code", {}, shown(other)), h("i", { style: `width:${Math.max(1, 60 * Math.exp(value))}px` }), h("span", {}, percent(Math.exp(value)))))) : null);
  box.hidden = false;
  const place = node.getBoundingClientRect();
  box.style.left = `${Math.max(4, Math.min(place.left, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${place.bottom + 6 + box.offsetHeight > innerHeight ? place.top - box.offsetHeight - 6 : place.bottom + 6}px`;
}

function hush() {
  at?.classList.remove("at");
  at = null;
  if (box) box.hidden = true;
}
