// Starts the Chat page: puts the parts in place and leads between the conversation, the lens and what the numbers say.
import { makeBoard } from "./chat_board.js";
import { makeBar } from "./chat_bar.js";
import { makeComposer } from "./chat_composer.js";
import { startChatKeys } from "./chat_keys.js";
import { makeModels } from "./chat_models.js";
import { makeSide } from "./chat_side.js";
import { begin, link, loadExamples, loadModels, openConversation } from "./chat_store.js";
import { fill, h, notice } from "./dom.js";
import { mountHeader } from "./header.js";
import { makeLens } from "./lens.js";
import { makeRetention } from "./retention.js";
import { on } from "./store.js";

const VIEWS = { conversation: ["Conversation", ""], lens: ["Likelihood lens", "L"], retention: ["Retention", "T"] };

function mountChat(root) {
  const composer = makeComposer(), board = makeBoard(), side = makeSide(), models = makeModels(), lens = makeLens(), retention = makeRetention(), bar = makeBar(VIEWS);
  const talk = h("section", { class: "vs-talk", "aria-label": "Conversation" }, board.element, composer.element);
  const stage = h("div", { class: "vs-chat-stage" }, bar.element, talk, lens.element, retention.element);
  fill(root, side.element, stage);
  let view = "conversation";

  function show(name, number = null) {
    view = VIEWS[name] ? name : "conversation";
    talk.hidden = view !== "conversation";
    lens.element.hidden = view !== "lens";
    retention.element.hidden = view !== "retention";
    bar.mark(view);
    if (view === "lens") lens.open(number);
    if (view === "retention") retention.open();
    link(false, { view: view === "conversation" ? "" : view, q: view === "lens" ? lens.number() : "", ...(view === "retention" ? {} : { set: "" }) });
  }

  on("chat:view", (name) => show(name));
  on("chat:opened", () => { if (view === "retention") show("conversation"); });
  on("chat:lens", (number) => show("lens", number));
  on("chat:manage", models.open);
  on("chat:question", (question) => { show("conversation"); composer.set(question); if (question.now) composer.submit(); });
  on("chat:asked", () => { if (view !== "conversation") show("conversation"); });
  const query = new URLSearchParams(location.search);
  restore().then(() => show(query.get("view") || "conversation", query.has("q") ? Number(query.get("q")) : null)).then(() => {
    if (query.get("ask")) composer.set({ text: query.get("ask"), images: query.getAll("image") });
    if (view === "conversation") composer.focus();
  });
  addEventListener("popstate", () => restore());
  return { composer, board, show: (name) => show(name), view: () => view };
}

async function restore() {
  const id = new URLSearchParams(location.search).get("c");
  await ready;
  if (!id) begin({ push: false });
  else if (!(await openConversation(id, { push: false }))) begin({ push: false });
}

const ready = loadModels();
loadExamples();
on("problem", (text) => notice(text, "bad"));
document.body.classList.toggle("dark", document.documentElement.classList.contains("vs-dark"));
mountHeader(document.querySelector("#vs-header .vs-mount"), { hello: () => fetch("/chat/hello").then((response) => response.json()) });
startChatKeys(mountChat(document.getElementById("vs-chat")));
