// The likelihood lens: how probable given texts are as answers to one question, under every model of the conversation.
import { setTokens, tokenNode } from "./chat_answer.js";
import { chat, link, panes, post } from "./chat_store.js";
import { button, fill, h, icon, plural } from "./dom.js";
import { makeChunks } from "./lens_chunks.js";
import { on } from "./store.js";

const KINDS = { text: ["", ""], words: ["in words", "The chunk as rows of centimetres: text that the base model can read"], tokens: ["in action tokens", "The same chunk in tokens that mean nothing to the base model"] };
const CHUNK = "[[2.0, 0.0, -3.5, 1], [0.0, 0.0, -2.0, 0]]";
const MAX_TEXTS = 8;

export function makeLens() {
  const which = h("select", { "aria-label": "Question", onchange: () => choose(Number(which.value)) }), about = h("div", { class: "vs-lens-question" });
  const texts = h("div", { class: "vs-lens-texts" }), results = h("div", { class: "vs-lens-results", "aria-live": "polite" });
  const go = button("Score", "", score, { class: "primary" }), more = button("+ text", "", () => addText("").focus(), { class: "small" }), chunk = button("+ action chunk", "", () => addText(CHUNK).focus(), { class: "small", title: "An action chunk is scored in words and in action tokens" });
  const chunks = makeChunks();
  const mine = h("section", { class: "vs-lens-one" }, h("h2", {}, "How probable is this answer?"),
    h("p", { class: "vs-dim" }, "Log-probability of each text as the reply to one question, under every model, per token and summed. Point at a token, or walk with the arrow keys."),
    h("div", { class: "vs-inline" }, which), about, texts, h("div", { class: "vs-inline vs-lens-go" }, more, chunk, go), results);
  const element = h("section", { class: "vs-lens", "aria-label": "Likelihood lens", hidden: true }, mine, chunks.element);
  let number = 0, seen = "";

  function open(wanted) {
    const exchanges = chat.conversation?.exchanges || [];
    const at = wanted !== null && wanted < exchanges.length ? wanted : exchanges.length ? Math.min(number, exchanges.length - 1) : 0;
    fill(which, exchanges.map((exchange, index) => h("option", { value: index }, `${index + 1}. ${exchange.text.slice(0, 90)}`)));
    const key = `${chat.conversation?.id}:${at}:${exchanges.length}:${exchanges[at]?.answers.map((answer) => answer?.text).join("|")}`;
    if (key !== seen || wanted !== null) choose(at);
    seen = key;
    chunks.draw();
  }

  function choose(at) {
    number = at;
    which.value = String(at);
    const exchange = chat.conversation?.exchanges[at], there = Boolean(exchange);
    which.hidden = !there;
    fill(about, there ? exchange.images.map((image) => h("img", { src: `/chat/images/${image}.jpg`, alt: "Image of the question" })) : h("p", { class: "vs-dim" }, "Ask a question first; its answers are put here to compare."), there ? h("p", { class: "vs-question-text" }, exchange.text) : null);
    fill(texts);
    fill(results);
    const said = there ? [...new Set(exchange.answers.map((answer) => answer?.text.trim()).filter(Boolean))] : [];
    for (const text of said) addText(text);
    go.disabled = more.disabled = chunk.disabled = !there;
    link(false, { q: there ? at : "" });
  }

  function addText(value) {
    const text = h("textarea", { rows: Math.min(4, Math.max(1, Math.ceil(value.length / 60))), "aria-label": "Text to score", placeholder: "A text to score", onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) score(); } }, value);
    const row = h("div", { class: "vs-lens-entry" }, text, h("button", { type: "button", class: "icon small", title: "Take it away", "aria-label": "Take it away", onclick: () => row.remove() }, icon("close")));
    if (texts.children.length < MAX_TEXTS) texts.append(row);
    return text;
  }

  async function score() {
    const wanted = [...texts.querySelectorAll("textarea")].map((node) => node.value).filter((text) => text.trim());
    if (!wanted.length) return fill(results, h("p", { class: "vs-problem" }, "Write a text to score."));
    go.disabled = true;
    fill(results, h("div", { class: "vs-busy" }, h("i"), "Scoring…"));
    const { ok, error } = await post(`conversations/${chat.conversation.id}/lens`, { exchange: number, texts: wanted });
    go.disabled = false;
    fill(results, error ? h("p", { class: "vs-problem" }, error) : table(ok));
  }

  on("chat:conversation", () => { if (!element.hidden) open(null); });
  on("chat:answered", () => { if (!element.hidden) open(null); });
  return { element, open, number: () => (chat.conversation ? number : "") };
}

function table(rows) {
  const shown = panes();
  return h("table", { class: "vs-lens-table" },
    h("thead", {}, h("tr", {}, h("th", {}, "text"), shown.map((pane) => h("th", {}, pane.title)))),
    h("tbody", {}, rows.map((row) => h("tr", { class: row.kind }, h("th", { scope: "row" }, h("span", { class: "vs-lens-kind", title: KINDS[row.kind][1] }, KINDS[row.kind][0]), h("span", {}, row.text)), best(row.scores).map(cell)))));
}

// Whoever finds the text most probable is marked.
function best(scores) {
  const top = Math.max(...scores.map((score) => score.total ?? -Infinity));
  return scores.map((score) => ({ ...score, top: scores.length > 1 && score.total === top }));
}

function cell(score) {
  if (score.problem) return h("td", { class: "vs-problem" }, score.problem);
  if (score.total === null) return h("td", { class: "vs-dim" }, "no tokens");
  const text = h("div", { class: "vs-answer-text" }, score.tokens.map(([token, value]) => tokenNode([token, value, []])));
  setTokens(text, true);
  return h("td", { class: score.top ? "top" : "" }, text, h("div", { class: "vs-lens-sums" }, h("b", {}, `Σ log p ${score.total.toFixed(1)}`), h("span", {}, `per token ${score.mean.toFixed(2)}`), h("span", {}, plural(score.tokens.length, "token")), score.top ? h("em", {}, "most probable") : null));
}
