// The same action in words and in action tokens, over many annotated chunks: two distributions for each model.
import { blind, chat, lines, panes } from "./chat_store.js";
import { button, fill, h } from "./dom.js";
import { emit } from "./store.js";

const BINS = 32, WIDTH = 480, HEIGHT = 60;
const MEASURES = { mean: ["per token", "_mean"], total: ["whole chunk", ""] };

export function makeChunks() {
  const count = h("input", { type: "number", min: 1, max: 500, value: 20, "aria-label": "How many chunks" }), told = h("span", { class: "vs-dim", role: "status" });
  const go = button("Score chunks", "", run, { class: "primary" }), halt = button("Stop", "", () => control?.abort(), { hidden: true });
  const measures = h("div", { class: "vs-modes", role: "group", "aria-label": "Measure" }, Object.entries(MEASURES).map(([name, [label]]) => button(label, "", () => { measure = name; draw(); }, { dataset: { measure: name } })));
  const strips = h("div", { class: "vs-strips" });
  const element = h("section", { class: "vs-lens-chunks" }, h("h2", {}, "Words against action tokens"),
    h("p", { class: "vs-dim" }, "Annotated chunks of this workspace, each scored twice: in words, and the same numbers in action tokens. The paper argues that words are probable under a base model that never saw an action, so that learning them changes it little. Does that hold for these models?"),
    h("div", { class: "vs-inline" }, h("label", { class: "vs-inline" }, "chunks", count), go, halt, measures, told), strips);
  let scores = new Map(), problems = new Map(), control = null, measure = "mean";

  async function run() {
    const models = panes().map((pane) => pane.model);
    if (blind() && chat.conversation) return emit("problem", "Reveal the sides first: this compares models by name.");
    if (!models.length) return emit("problem", "Choose a model first.");
    scores = new Map(models.map((name) => [name, []]));
    problems = new Map();
    control = new AbortController();
    [go.hidden, halt.hidden] = [true, false];
    told.textContent = "Loading…";
    draw();
    let last = null;
    for await (const record of lines("lens/chunks", { models, count: Number(count.value) || 20 }, control.signal)) {
      if (record.error) { problems.set("", record.error); break; }
      if (record.problem) problems.set(record.model, record.problem);
      else if (record.model) scores.get(record.model).push(record);
      if (record.total) { last = record; told.textContent = `${record.done} of ${record.total}`; }
      draw();
    }
    [go.hidden, halt.hidden, control] = [false, true, null];
    told.textContent = last ? `${last.done} chunk${last.done === 1 ? "" : "s"} scored` : "";
    draw();
  }

  function draw() {
    for (const node of measures.children) node.setAttribute("aria-pressed", String(node.dataset.measure === measure));
    const shown = [...scores].filter(([name, rows]) => rows.length || problems.has(name));
    const key = MEASURES[measure][1], of = (row, kind) => row[`${kind}${key}`];
    const all = shown.flatMap(([, rows]) => rows.flatMap((row) => [of(row, "words"), of(row, "tokens")]));
    const low = Math.floor(Math.min(-1, ...all)), high = Math.min(0, Math.ceil(Math.max(-Infinity, ...all) + 0.5));
    fill(strips, problems.has("") ? h("p", { class: "vs-problem" }, problems.get("")) : null,
      !shown.length && !problems.size ? h("p", { class: "vs-none" }, control ? "" : `Nothing scored yet. ${panes().map((pane) => pane.title).join(" and ")} will be asked.`) : null,
      shown.map(([name, rows]) => strip(name, problems.get(name), ["words", "tokens"].map((kind) => rows.map((row) => of(row, kind))), low, high === -Infinity ? 0 : high, measure === "mean" ? "log-probability per token" : "log-probability of the whole chunk")));
  }

  return { element, draw };
}

function strip(name, problem, [words, tokens], low, high, label) {
  if (problem) return h("div", { class: "vs-strip" }, h("b", {}, name), h("p", { class: "vs-problem" }, problem));
  const more = words.filter((value, index) => value > tokens[index]).length;
  return h("figure", { class: "vs-strip" },
    h("figcaption", {}, h("b", {}, name), h("span", { class: "words" }, `words: median ${median(words).toFixed(2)}`), h("span", { class: "tokens" }, `tokens: median ${median(tokens).toFixed(2)}`), h("span", {}, `words more probable in ${more} of ${words.length}`)),
    plot(words, tokens, low, high, label));
}

function plot(words, tokens, low, high, label) {
  const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${2 * HEIGHT + 38}`, role: "img", "aria-label": "Two histograms of log-probability, words above, action tokens below" });
  const x = (value) => 8 + ((value - low) / (high - low || 1)) * (WIDTH - 16), step = (high - low || 1) / BINS;
  for (const [row, kind, values] of [[0, "words", words], [1, "tokens", tokens]]) {
    const bins = Array(BINS).fill(0), base = (row + 1) * HEIGHT;
    for (const value of values) bins[Math.min(BINS - 1, Math.max(0, Math.floor((value - low) / step)))] += 1;
    const top = Math.max(...bins, 1);
    bins.forEach((count, index) => { if (count) svg.append(node("rect", { class: kind, x: x(low + index * step) + 0.5, width: (WIDTH - 16) / BINS - 1, y: base - (count / top) * (HEIGHT - 10), height: (count / top) * (HEIGHT - 10) })); });
    svg.append(node("line", { class: "axis", x1: 8, x2: WIDTH - 8, y1: base, y2: base }));
    if (values.length) svg.append(node("line", { class: `median ${kind}`, x1: x(median(values)), x2: x(median(values)), y1: base - HEIGHT + 4, y2: base }));
  }
  const ticks = nice(low, high);
  for (const tick of ticks) svg.append(node("text", { x: x(tick), y: 2 * HEIGHT + 16, "text-anchor": "middle" }, String(tick)));
  svg.append(node("text", { x: WIDTH / 2, y: 2 * HEIGHT + 32, "text-anchor": "middle" }, label));
  return svg;
}

function nice(low, high) {
  const span = high - low || 1, raw = span / 6, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + 1e-9; tick += step) found.push(Number(tick.toFixed(3)));
  return found;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length ? (sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2) : NaN;
}

function node(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}
