// Retention: what fine-tuned models kept of their base, skill by skill, beside the paper's table, and the answers that changed.
// What another harness measured stands apart.
import { get, link } from "./chat_store.js";
import { fill, h, notice } from "./dom.js";
import { makeGallery } from "./retention_gallery.js";
import { drawHarness } from "./retention_harness.js";
import { p, percent, span } from "./retention_numbers.js";
import { on } from "./store.js";

const MEASURES = { raw: ["kept", "Fine-tuned score / base score"], centred: ["above chance", "(score − chance) / (base − chance): what guessing gives does not count"], above_floor: ["above grey pictures", "The same with the base's score on grey pictures in place of chance: what can be guessed without looking does not count"] };
const COMMAND = "vlm2vla evaluate vqa --models base,lora --set tabletop --blank";

export function makeRetention() {
  const which = h("select", { "aria-label": "Comparison", onchange: () => load(which.value) }), about = h("span", { class: "vs-dim" });
  const measures = h("div", { class: "vs-modes", role: "group", "aria-label": "Measure" }, Object.entries(MEASURES).map(([name, [label, title]]) => h("button", { type: "button", title, dataset: { measure: name }, onclick: () => { measure = name; drawCharts(); } }, label)));
  const head = h("header", { class: "vs-retention-head" }, h("h2", {}, "What fine-tuning kept"), which, about, measures);
  const table = h("div", { class: "vs-retention-table" }), ours = h("figure", { class: "vs-plot", "aria-label": "Retention by skill" }), theirs = h("figure", { class: "vs-plot", "aria-label": "Retention in the paper" });
  const paper = h("details", { class: "vs-paper" }), gallery = makeGallery(), harness = h("section", { class: "vs-harness", "aria-label": "By another harness", hidden: true });
  const plots = h("div", { class: "vs-plots" }, ours, h("div", {}, theirs, paper)), compared = [table, plots, gallery.element], body = h("div", { class: "vs-retention-body" }, table, plots, harness, gallery.element), none = h("div", { class: "vs-choose", hidden: true });
  const element = h("section", { class: "vs-retention", "aria-label": "Retention", hidden: true }, head, none, body);
  let rows = null, shown = null, measure = "raw", plotly = null;

  async function open() {
    if (rows === null) fill(about, "Looking for stored comparisons…");
    const [{ ok, error }] = await Promise.all([get("retention"), drawHarness(harness)]);
    rows = ok || [];
    for (const part of [head, ...compared]) part.hidden = !rows.length;
    body.hidden = !rows.length && harness.hidden;
    none.hidden = rows.length > 0;
    if (!rows.length) return drawNone(error);
    fill(which, rows.map((row) => h("option", { value: row.id }, `${row.set}${row.circular ? ", circular" : ""}: ${row.models.join(", ")} (${row.questions} questions${row.repeated ? ", repeated" : ""})`)));
    const wanted = new URLSearchParams(location.search).get("set");
    await load(rows.some((row) => row.id === wanted) ? wanted : shown && rows.some((row) => row.id === shown.id) ? shown.id : rows[0].id);
  }

  async function load(id) {
    which.value = id;
    const { ok, error } = await get(`retention/${encodeURIComponent(id)}`);
    if (error) { fill(about, h("span", { class: "vs-problem" }, error)); return; }
    shown = ok;
    link(false, { set: id });
    fill(about, `${ok.questions} questions, compared with ${ok.base}, ${new Date(ok.made_at).toLocaleDateString()}`);
    drawTable();
    drawPaper();
    await drawCharts();
    gallery.show(ok);
  }

  function drawTable() {
    const base = shown.scores[shown.base];
    fill(table, h("table", { class: "vs-facts" },
      h("thead", {}, h("tr", {}, ["model", "score", "kept", "above chance", "above grey pictures", "lost / won", "p (Holm)", "85 % kept"].map((name) => h("th", { scope: "col", title: TITLES[name] }, name)))),
      h("tbody", {}, h("tr", {}, h("th", { scope: "row" }, shown.base, h("small", {}, " base")), h("td", {}, scored(base)), h("td", { colspan: 6, class: "vs-dim" }, `chance ${percent(base.chance)}${base.blank === undefined ? "" : `, grey pictures ${percent(base.blank)}`}`)),
        Object.entries(shown.retention).map(([name, kept]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, scored(shown.scores[name])), h("td", {}, span(kept, kept.raw)), h("td", {}, span(kept.centred)), h("td", {}, span(kept.above_floor)),
          h("td", {}, `${kept.base_right_tuned_wrong} / ${kept.base_wrong_tuned_right}`), h("td", {}, p(kept.p_holm ?? kept.p)), h("td", {}, h("span", { class: { yes: "vs-yes", no: "vs-no" }[kept.kept_85] || "vs-dim" }, kept.kept_85)))))));
  }

  function drawPaper() {
    const { paper: told } = shown;
    fill(paper, h("summary", {}, "The paper's own table"), h("p", { class: "vs-dim" }, `${told.source}; percent, MME in points. Another model, other benchmarks, another harness: never compare these numbers with ours, only what is kept within a row.`),
      h("div", { class: "vs-wide" }, h("table", { class: "vs-facts" }, h("thead", {}, h("tr", {}, h("th", {}, "model"), told.benchmarks.map((name) => h("th", {}, name)))), h("tbody", {}, Object.entries(told.models).map(([name, values]) => h("tr", { class: name === told.base ? "base" : "" }, h("th", { scope: "row" }, name), values.map((value) => h("td", {}, value === null ? "–" : String(value)))))))));
  }

  async function drawCharts() {
    for (const node of measures.children) { node.setAttribute("aria-pressed", String(node.dataset.measure === measure)); node.disabled = !shown?.charts[node.dataset.measure].ours; }
    if (!shown) return;
    try { plotly ??= await library(); } catch { fill(ours, h("p", { class: "vs-problem" }, "The charts could not be loaded; the tables say the same.")); return; }
    const colour = getComputedStyle(element).getPropertyValue("--ink").trim() || "#171c28";
    for (const [node, figure] of [[ours, shown.charts[measure].ours], [theirs, shown.charts.raw.paper]]) {
      if (!figure) { plotly.purge(node); fill(node, h("p", { class: "vs-dim" }, "Not enough known for this measure.")); continue; }
      if (!node.classList.contains("js-plotly-plot")) fill(node);
      const title = { text: node === ours ? `Here: ${shown.set}` : "In the paper: real benchmarks, 12B", font: { size: 13 }, x: 0, xanchor: "left", y: 0.995, yanchor: "top" };
      await plotly.react(node, figure.data, { ...figure.layout, title, font: { color: colour, family: "system-ui, sans-serif", size: 12 } }, figure.config);
    }
  }

  function drawNone(error) {
    fill(none, h("h1", {}, "Nothing was compared yet"), error ? h("p", { class: "vs-problem" }, error) : null,
      h("p", {}, "Ask base and fine-tuned models the same questions; what the fine-tuned ones kept is shown here, with intervals, and every answer that changed."),
      h("p", {}, h("code", { class: "vs-command" }, COMMAND)),
      h("div", {}, h("button", { type: "button", class: "primary", onclick: () => navigator.clipboard?.writeText(COMMAND).then(() => notice("Copied.")) }, "Copy the command")),
      h("p", { class: "vs-dim" }, "It can be stopped and started again; nothing is asked twice."));
  }

  on("theme", () => { if (!element.hidden) drawCharts(); });
  return { element, open };
}

const TITLES = {
  score: "Share of right answers; interval over images", kept: MEASURES.raw[1], "above chance": MEASURES.centred[1], "above grey pictures": MEASURES.above_floor[1],
  "lost / won": "Questions that only the base got right, and only the fine-tuned model", "p (Holm)": "Paired test of the difference, adjusted for the number of models", "85 % kept": "yes or no only where the whole 95 % interval is on one side of the line",
};
// The score of a model; where everything was asked several times, also how often it agrees with itself.
const scored = (row) => [span(row, row.score), row.agreement === undefined ? null : h("small", { class: "vs-agreement", title: "Share of pairs of answers to one question that say the same" }, `agrees with itself ${percent(row.agreement)}`)];

let loading = null;
function library() {
  loading ??= new Promise((resolve, reject) => document.head.append(h("script", { src: "/chat/api/retention/plotly.js", onload: () => resolve(window.Plotly), onerror: () => { loading = null; reject(new Error("plotly")); } })));
  return loading;
}
