// The answers that changed: base right and fine-tuned wrong, and the reverse. Each opens in the panes, as it was asked.
import { begin, chat, get, post, setModels, wanted } from "./chat_store.js";
import { debounce, fill, h, notice, plural } from "./dom.js";
import { emit } from "./store.js";

const PAGE = 48;
const WAYS = { lost: "base right → tuned wrong", won: "base wrong → tuned right" };

export function makeGallery() {
  const model = h("select", { "aria-label": "Fine-tuned model", onchange: load }), skill = h("select", { "aria-label": "Skill", onchange: draw }), language = h("select", { "aria-label": "Language", onchange: draw });
  const search = h("input", { type: "search", placeholder: "Search questions and answers", "aria-label": "Search the gallery", oninput: debounce(150, draw) });
  const ways = h("div", { class: "vs-modes", role: "group", "aria-label": "Direction" }, Object.entries(WAYS).map(([name, label]) => h("button", { type: "button", dataset: { way: name }, onclick: () => { way = name; draw(); } }, label)));
  const count = h("span", { class: "vs-dim", role: "status" }), cards = h("div", { class: "vs-flips" }), more = h("button", { type: "button", hidden: true, onclick: () => { shown += PAGE; draw(false); } }, "Show more");
  const element = h("section", { class: "vs-gallery", "aria-label": "Answers that changed" }, h("header", {}, h("h2", {}, "Answers that changed"), model, ways, skill, language, search, count), cards, more);
  let comparison = null, flips = [], way = "lost", shown = PAGE, problem = "", asked = 0;

  async function show(found) {
    comparison = found;
    const names = Object.keys(found.retention), before = model.value;
    fill(model, names.map((name) => h("option", { value: name }, name)));
    model.value = names.includes(before) ? before : names[0];
    await load();
  }

  async function load() {
    const ticket = ++asked;
    fill(count, "Grading…");
    const { ok, error } = await get(`retention/${encodeURIComponent(comparison.id)}/gallery?model=${encodeURIComponent(model.value)}`);
    if (ticket !== asked) return;
    flips = ok?.flips || [];
    problem = error || ok?.problem || "";
    choices(skill, "all skills", flips.map((flip) => flip.skill));
    choices(language, "all languages", flips.map((flip) => flip.language));
    draw();
  }

  function draw(again = true) {
    if (again !== false) shown = PAGE;
    for (const node of ways.children) { const lost = node.dataset.way === "lost"; node.setAttribute("aria-pressed", String(node.dataset.way === way)); fill(node, `${WAYS[node.dataset.way]} (${flips.filter((flip) => flip.lost === lost).length})`); }
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = flips.filter((flip) => flip.lost === (way === "lost") && (!skill.value || flip.skill === skill.value) && (!language.value || flip.language === language.value)
      && words.every((word) => `${flip.question} ${flip.right} ${flip.base.answer} ${flip.tuned.answer}`.toLowerCase().includes(word)));
    fill(count, problem ? "" : plural(found.length, "question"));
    more.hidden = found.length <= shown;
    fill(cards, problem ? h("p", { class: "vs-problem" }, problem) : found.length ? found.slice(0, shown).map(card) : h("p", { class: "vs-none" }, flips.length ? "None with these filters." : "Base and fine-tuned model agree on every question."));
  }

  function card(flip) {
    const picture = (number) => h("img", { loading: "lazy", alt: "", src: `/chat/api/retention/${encodeURIComponent(comparison.id)}/picture?item=${encodeURIComponent(flip.item)}&number=${number}` });
    const said = (name, told) => [h("dt", {}, name), h("dd", { class: told.value >= 0.5 ? "ok" : "no" }, h("i", { "aria-hidden": "true" }, told.value >= 0.5 ? "✓" : "✗"), told.answer || "(nothing)", told.error_cm === null ? null : h("small", {}, ` ${told.error_cm.toFixed(1)} cm off`))];
    return h("button", { type: "button", class: "vs-flip", title: "Ask it again in the panes", onclick: () => open(flip) },
      h("span", { class: "vs-flip-pictures" }, flip.images ? Array.from({ length: Math.min(2, flip.images) }, (_, number) => picture(number)) : h("span", { class: "vs-card-text" }, "“ ”")),
      h("span", { class: "vs-flip-tags" }, [flip.skill, flip.language].filter(Boolean).map((tag) => h("span", { class: "vs-badge" }, tag))),
      h("b", {}, flip.question), flip.options.length ? h("small", {}, flip.options.join(" / ")) : null,
      h("dl", {}, h("dt", {}, "right"), h("dd", {}, flip.right), said(comparison.base, flip.base), said(model.value, flip.tuned)));
  }

  async function open(flip) {
    const question = await wanted(post(`retention/${encodeURIComponent(comparison.id)}/question`, { item: flip.item }));
    if (!question) return;
    const both = [comparison.base, model.value], missing = both.filter((name) => !chat.models.some((entry) => entry.name === name));
    begin();
    chat.references.push(question);
    if (missing.length) notice(`${missing.join(" and ")} ${missing.length > 1 ? "are" : "is"} not in the list of models here; the question is asked of those chosen.`, "bad");
    else await setModels(both);
    emit("chat:question", { ...question, now: true });
  }

  return { element, show };
}

function choices(select, all, values) {
  const counts = new Map(), before = select.value;
  for (const value of values) if (value) counts.set(value, (counts.get(value) || 0) + 1);
  fill(select, h("option", { value: "" }, all), [...counts].sort().map(([value, count]) => h("option", { value }, `${value} (${count})`)));
  select.value = counts.has(before) ? before : "";
  select.hidden = counts.size < 2;
}
