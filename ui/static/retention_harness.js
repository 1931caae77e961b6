// What the field's own harness measured over our served models: its numbers are compared among each other only.
import { get } from "./chat_store.js";
import { fill, h } from "./dom.js";
import { p, span } from "./retention_numbers.js";

const HEAD = ["task", "metric", "model", "score", "questions", "kept", "lost / won", "p"];

export async function drawHarness(element) {
  const { ok, error } = await get("retention/harness");
  element.hidden = !error && !ok?.length;
  if (element.hidden) return;
  fill(element, h("h2", {}, "By another harness"),
    h("p", { class: "vs-dim" }, "Its own prompts and rules, over our served models. Compare these numbers among each other, never with those above."),
    error ? h("p", { class: "vs-problem" }, error) : ok.map(drawRun));
}

function drawRun(run, index) {
  return h("details", { open: index === 0 }, h("summary", {}, `${run.harness}, ${new Date(run.made_at).toLocaleString()}: compared with ${run.base}`),
    h("div", { class: "vs-wide" }, h("table", { class: "vs-facts" }, h("thead", {}, h("tr", {}, HEAD.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, run.rows.map(drawRow)))));
}

function drawRow({ task, metric, model, score, questions, failed, kept }) {
  const asked = failed ? `${questions}, ${failed} failed` : String(questions);
  return h("tr", {}, h("td", {}, task), h("td", {}, metric), h("th", { scope: "row" }, model), h("td", {}, span(score)), h("td", {}, asked),
    h("td", {}, span(kept?.raw)), h("td", {}, kept ? `${kept.lost} / ${kept.won}` : "–"), h("td", {}, p(kept?.p)));
}
