// Questions on the left, the answers of every model beside them: one row per question, so that answers are read across.
import { differing, makeAnswer } from "./chat_answer.js";
import { makeExamples } from "./chat_examples.js";
import { CHOICES } from "./chat_keys.js";
import { MAX_PANES, ask, blind, busy, chat, panes, setModels, vote } from "./chat_store.js";
import { button, fill, h, icon, notice } from "./dom.js";
import { emit, on } from "./store.js";

const KINDS = { base: "base model", adapter: "adapter", checkpoint: "fine-tuned", openai: "server", gemini: "Gemini" };

export function makeBoard() {
  const heads = h("div", { class: "vs-heads" }), rows = h("div", { class: "vs-exchanges" }), examples = makeExamples(), none = makeNone();
  const element = h("div", { class: "vs-board", tabindex: "-1" }, heads, rows, examples.element, none);
  let drawn = [];

  function drawHeads() {
    const shown = panes(), free = (chat.models || []).filter((model) => !shown.some((pane) => pane.model === model.name));
    element.style.setProperty("--panes", Math.max(1, shown.length));
    element.dataset.panes = shown.length;
    const more = !blind() && shown.length < MAX_PANES && free.length ? h("button", { type: "button", class: "small", disabled: busy(), title: "Ask one more model", onclick: () => setModels([...shown.map((pane) => pane.model), free[0].name]) }, "+ model") : null;
    fill(heads, h("div", { class: "vs-corner" }, more, h("button", { type: "button", class: "small", onclick: () => emit("chat:manage"), title: "Add, check or remove models" }, "Models…")), shown.map((pane, index) => head(pane, index, shown)));
  }

  function head(pane, index, shown) {
    if (chat.conversation && blind()) return h("div", { class: "vs-pane-head blind" }, h("b", {}, pane.title), h("small", {}, index ? "right" : "left"));
    const entry = chat.models?.find((model) => model.name === pane.model), names = (chat.models || []).map((model) => model.name);
    if (!names.includes(pane.model)) names.unshift(pane.model);
    const choose = (name) => setModels(shown.map((other, at) => (at === index ? name : other.model === name ? pane.model : other.model)));
    return h("div", { class: "vs-pane-head" },
      h("select", { "aria-label": `Model ${index + 1}`, disabled: busy(), onchange: (event) => choose(event.target.value) }, names.map((name) => h("option", { value: name, selected: name === pane.model }, name))),
      h("small", { title: entry ? [entry.path || entry.url || entry.model, entry.note].filter(Boolean).join(" · ") : "" }, chat.draft.blind && !chat.conversation ? "hidden and shuffled when you ask" : entry ? [KINDS[entry.kind], entry.actions === "tokens" ? "action tokens" : "", entry.shipped ? "small, ships with the studio" : ""].filter(Boolean).join(", ") : "not in the list any more"),
      shown.length > 1 ? h("button", { type: "button", class: "icon small", disabled: busy(), title: "Leave this model out", "aria-label": `Leave ${pane.model} out`, onclick: () => setModels(shown.filter((_, at) => at !== index).map((other) => other.model)) }, icon("close")) : null);
  }

  function draw() {
    drawHeads();
    const exchanges = chat.conversation?.exchanges || [];
    drawn = exchanges.map((exchange, number) => makeRow(exchange, number));
    fill(rows, drawn.map((row) => row.element));
    none.hidden = chat.models === null || chat.models.length > 0;
    examples.show(!exchanges.length && none.hidden);
    heads.hidden = !none.hidden;
    for (const row of drawn) row.draw();
  }

  // Only what changed is drawn again, at most once a frame.
  let waiting = false;
  function growing() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; const near = atEnd(); if (chat.live) drawn[chat.live.number]?.draw(); if (near) toEnd(); });
  }

  const atEnd = () => element.scrollHeight - element.scrollTop - element.clientHeight < 60;
  const toEnd = () => { element.scrollTop = chat.conversation ? element.scrollHeight : 0; };
  for (const topic of ["chat:conversation", "chat:models"]) on(topic, () => { draw(); toEnd(); });
  on("chat:asked", () => { draw(); toEnd(); });
  on("chat:answered", (number) => { const near = atEnd(); draw(); if (near) toEnd(); if (blind()) { document.activeElement?.blur(); drawn[number]?.element.querySelector(".vs-vote")?.scrollIntoView({ block: "nearest" }); } });
  on("chat:voted", draw);
  on("chat:token", growing);
  on("chat:show", () => { for (const row of drawn) row.draw(); });
  on("chat:edit", () => { const last = drawn.at(-1); if (last && !busy()) last.edit(); });
  draw();
  return { element };
}

function makeRow(exchange, number) {
  const cells = panes().map((pane) => makeAnswer(pane.title));
  const question = h("div", { class: "vs-question" }), foot = h("div", { class: "vs-exchange-foot" });
  const element = h("section", { class: "vs-exchange", "aria-label": `Question ${number + 1}` }, question, cells.map((cell) => cell.element), foot);
  let editing = false;

  function draw() {
    const live = chat.live?.number === number ? chat.live.answers : null, now = chat.conversation?.exchanges[number] || exchange;
    const answers = cells.map((_, pane) => live?.[pane] ?? now.answers[pane] ?? null), { differences, probabilities } = chat.show;
    for (const [pane, cell] of cells.entries()) {
      const other = answers[pane === 0 ? 1 : 0], comparable = differences && !live && answers[pane]?.text && other?.text;
      cell.draw(answers[pane], { probabilities, marks: comparable ? differing(answers[pane].text, other.text) : null });
    }
    if (!editing) drawQuestion(now, Boolean(live));
    drawFoot(now, Boolean(live));
  }

  function drawQuestion(now, live) {
    const reference = [...(chat.examples || []), ...chat.references].find((example) => example.text === now.text && (example.image || example.images?.[0] || "") === (now.images[0] || "") && example.answer);
    fill(question, now.images.map((image) => h("a", { href: `/chat/images/${image}.jpg`, target: "_blank", rel: "noopener", title: "Open the image" }, h("img", { src: `/chat/images/${image}.jpg`, alt: "Image of the question" }))),
      h("p", { class: "vs-question-text" }, now.text),
      reference ? h("p", { class: "vs-reference", title: "The answer that the set of questions gives" }, "reference: ", h("b", {}, reference.answer)) : null,
      h("div", { class: "vs-question-tools" },
        h("button", { type: "button", class: "small", disabled: busy(), onclick: edit, title: "Change the question; what follows it is dropped" }, "Edit"),
        h("button", { type: "button", class: "small", disabled: busy(), onclick: () => again(now), title: "Ask the same again; what follows it is dropped" }, "Ask again"),
        h("button", { type: "button", class: "small", disabled: live, onclick: () => copy(now), title: "Copy question and answers" }, "Copy"),
        h("button", { type: "button", class: "small", disabled: live, onclick: () => emit("chat:lens", number), title: "How probable are these, and other, answers under each model?" }, "Lens")));
  }

  function drawFoot(now, live) {
    const hidden = blind(), last = number === (chat.conversation?.exchanges.length || 0) - 1, two = cells.length === 2;
    const voting = hidden && two && !live ? h("div", { class: "vs-vote", role: "group", "aria-label": "Which answer is better?" }, h("span", {}, "Which is better?"),
      CHOICES.map(([choice, digit, , arrow]) => button({ left: "← Left", right: "Right →", tie: "Tie", "both bad": "Both bad" }[choice], last ? `${digit} ${arrow}` : "", () => vote(number, choice), { "aria-pressed": String(now.vote === choice) }))) : null;
    const voted = !hidden && now.vote ? h("p", { class: "vs-voted" }, "Voted: ", h("b", {}, now.vote), ["left", "right"].includes(now.vote) ? ` (${panes()[now.vote === "left" ? 0 : 1]?.title})` : "") : null;
    const next = last && !live && now.next ? h("div", { class: "vs-next" }, button("Ask the next level", "", () => ask(now.next), { class: "primary small", disabled: busy() }), h("span", { class: "vs-dim" }, now.next)) : null;
    const said = now.answers.filter((answer) => answer?.text), alike = chat.show.differences && !live && said.length > 1 && said.length === cells.length && new Set(said.map((answer) => answer.text.trim())).size === 1;
    fill(foot, voting, voted, next, alike ? h("p", { class: "vs-voted vs-dim" }, "Word for word the same.") : null);
    foot.hidden = !foot.children.length;
  }

  function edit() {
    editing = true;
    const text = h("textarea", { rows: 5, "aria-label": "Question" }, exchange.text);
    const done = () => { editing = false; draw(); };
    const send = () => { if (text.value.trim()) { editing = false; ask(text.value, exchange.images, number); } };
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
      if (event.key === "Escape") { event.stopPropagation(); done(); }
    });
    fill(question, exchange.images.map((image) => h("img", { src: `/chat/images/${image}.jpg`, alt: "" })), text,
      h("div", { class: "vs-question-tools" }, button("Ask", "Enter", send, { class: "primary small" }), button("Cancel", "Esc", done, { class: "small" })));
    text.focus();
    text.select();
  }

  const again = (now) => ask(now.text, now.images, number);
  return { element, draw, edit };
}

function copy(exchange) {
  const answers = panes().map((pane, index) => `${pane.title}: ${exchange.answers[index]?.text ?? "(not asked)"}`);
  navigator.clipboard?.writeText([exchange.text, ...answers].join("\n\n")).then(() => notice("Copied."), () => notice("The browser does not let pages copy here.", "bad"));
}

function makeNone() {
  return h("div", { class: "vs-choose", hidden: true }, h("h1", {}, "No model yet"),
    h("p", {}, "Nobody answers here before there is a model. The small one that ships with the studio is not in this checkout (", h("code", {}, "assets/models/base"), ")."),
    h("p", {}, "Add a folder with a Gemma 3 (or an adapter on one), a hub id that is in the local cache, or the address of an OpenAI-compatible server."),
    h("div", {}, button("Add a model", "M", () => emit("chat:manage"), { class: "primary" })),
    h("p", { class: "vs-dim" }, "On the command line: ", h("code", {}, "vlm2vla models add NAME FOLDER-OR-URL")));
}
