// What the Chat page knows, and every question to the studio. Answers come as lines of JSON, token by token.
import { emit, reviewer } from "./store.js";

const MODELS_KEY = "vlm2vla.chat.models", SHOW_KEY = "vlm2vla.chat.show";
const GONE = "The studio does not answer. Is it still running? Nothing that was said is lost.";
export const SAMPLING = { temperature: 0, top_p: 1, seed: 0, max_new_tokens: 256 };
export const MAX_PANES = 4, MAX_IMAGES = 4;

// conversation: as the studio shows it, null before the first question; draft: what a new one will be begun with;
// references: questions from elsewhere whose right answer is known; live: answers that are being written; show: what is drawn over the answers.
export const chat = {
  models: null, examples: null, conversation: null, live: null, failed: "", references: [],
  draft: { models: [], sampling: { ...SAMPLING }, system: "", blind: false },
  show: { differences: false, probabilities: false, ...JSON.parse(localStorage.getItem(SHOW_KEY) || "{}") },
};

export const panes = () => chat.conversation?.panes ?? chat.draft.models.map((model) => ({ title: model, model }));
export const blind = () => chat.conversation?.blind ?? chat.draft.blind;
export const sampling = () => chat.conversation?.sampling ?? chat.draft.sampling;
export const busy = () => Boolean(chat.live);

export async function get(path) {
  try {
    const answer = await (await fetch(`/chat/api/${path}`, { cache: "no-store" })).json();
    return answer;
  } catch { return { error: GONE }; }
}

export async function post(path, body = {}) {
  const raw = body instanceof Blob;
  try {
    const response = await fetch(`/chat/api/${path}`, { method: "POST", headers: raw ? {} : { "content-type": "application/json" }, body: raw ? body : JSON.stringify(body) });
    return await response.json();
  } catch { return { error: GONE }; }
}

// Ask, and say what went wrong, if anything; resolves to the value, or undefined.
export async function wanted(answer) {
  const { ok, error } = await answer;
  if (error) emit("problem", error);
  return error ? undefined : ok ?? true;
}

// The records of a long answer, as they come; trouble is the last one, as {error}.
export async function* lines(path, body, signal) {
  let reader;
  try {
    const response = await fetch(`/chat/api/${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });
    if (!response.headers.get("content-type")?.includes("ndjson")) { yield await response.json(); return; }
    reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const rows = (rest + value).split("\n");
      rest = rows.pop();
      for (const row of rows) if (row) yield JSON.parse(row);
    }
  } catch (error) {
    if (error.name !== "AbortError") yield { error: GONE };
  } finally { reader?.cancel().catch(() => {}); }
}

// ---- models and examples

export async function loadModels() {
  const { ok, error } = await get("models");
  chat.models = ok || [];
  chat.failed = error || "";
  const known = new Set(chat.models.map((model) => model.name));
  const last = JSON.parse(localStorage.getItem(MODELS_KEY) || "[]").filter((name) => known.has(name));
  chat.draft.models = chat.draft.models.filter((name) => known.has(name));
  if (!chat.draft.models.length) chat.draft.models = last.length ? last : [...["base", "lora"].filter((name) => known.has(name)), ...known].filter((name, at, all) => all.indexOf(name) === at).slice(0, 2);
  emit("chat:models");
}

export async function loadExamples() {
  chat.examples = (await get("examples")).ok || [];
  emit("chat:examples");
}

// Other models, or another order; they answer from the next question on.
export async function setModels(models) {
  if (chat.conversation) {
    const changed = await wanted(post(`conversations/${chat.conversation.id}/change`, { models }));
    if (!changed) return emit("chat:conversation");
    chat.conversation = changed;
  }
  chat.draft.models = models;
  localStorage.setItem(MODELS_KEY, JSON.stringify(models));
  emit("chat:conversation");
}

export async function setSampling(values) {
  Object.assign(chat.draft.sampling, values);
  if (!chat.conversation) return emit("chat:settings");
  const changed = await wanted(post(`conversations/${chat.conversation.id}/change`, { sampling: values }));
  if (changed) chat.conversation.sampling = changed.sampling;
  emit("chat:settings");
}

export async function setSystem(system) {
  chat.draft.system = system;
  if (!chat.conversation) return emit("chat:settings");
  const changed = await wanted(post(`conversations/${chat.conversation.id}/change`, { system }));
  if (changed) chat.conversation.system = changed.system;
  emit("chat:settings");
}

export function setShow(name, on = !chat.show[name]) {
  chat.show[name] = on;
  localStorage.setItem(SHOW_KEY, JSON.stringify(chat.show));
  emit("chat:show");
}

// ---- conversations

export async function openConversation(id, { push = true } = {}) {
  if (chat.live) await stop();
  const { ok, error } = await get(`conversations/${encodeURIComponent(id)}`);
  if (error) { emit("problem", error); return false; }
  chat.conversation = ok;
  Object.assign(chat.draft, { sampling: { ...SAMPLING, ...pick(ok.sampling) }, system: ok.system, blind: false });
  if (!ok.blind) chat.draft.models = ok.panes.map((pane) => pane.model);
  link(push);
  emit("chat:conversation");
  if (ok.exchanges.some((exchange) => exchange.answers.some((answer) => answer?.end === "writing"))) setTimeout(() => followElsewhere(id), 1000);
  return true;
}

// Somebody else (or this page before it was reloaded) is being answered here: look again until that is done.
async function followElsewhere(id) {
  if (chat.live || chat.conversation?.id !== id) return;
  const { ok } = await get(`conversations/${encodeURIComponent(id)}`);
  if (!ok || chat.live || chat.conversation?.id !== id) return;
  chat.conversation = ok;
  emit("chat:conversation");
  if (ok.exchanges.some((exchange) => exchange.answers.some((answer) => answer?.end === "writing"))) setTimeout(() => followElsewhere(id), 1000);
}

export function begin({ blind = false, push = true } = {}) {
  if (chat.live) stop();
  chat.conversation = null;
  Object.assign(chat.draft, { system: "", blind: blind && chat.draft.models.length >= 2 });
  if (blind && chat.draft.models.length > 2) chat.draft.models = chat.draft.models.slice(0, 2);
  link(push);
  emit("chat:conversation");
}

const pick = (values) => Object.fromEntries(Object.keys(SAMPLING).map((name) => [name, values[name]]));

// The address restores what is seen: conversation, view, question under the lens.
export function link(push = false, more = {}) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries({ c: chat.conversation?.id, ...more })) {
    if (value === undefined || value === null || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  if (url.href === location.href) return;
  if (push) history.pushState(null, "", url);
  else history.replaceState(null, "", url);
}

// ---- asking

let control = null;

// Resolves to true when the question was taken; a refused one leaves everything as it was.
export async function ask(text, images = [], insteadOf = null) {
  if (chat.live) return false;
  if (!chat.conversation && !(await open())) return false;
  const conversation = chat.conversation, before = conversation.exchanges;
  const number = insteadOf ?? before.length;
  conversation.exchanges = [...before.slice(0, number), { exchange: number, text, images, answers: conversation.panes.map(() => null), sampling: conversation.sampling, vote: null, next: "" }];
  chat.live = { id: conversation.id, number, answers: conversation.panes.map(() => ({ text: "", tokens: [], end: "writing", state: "reading", problem: "", seconds: 0, first_s: 0 })), began: performance.now() };
  control = new AbortController();
  if (!conversation.name) conversation.title = conversation.exchanges[0]?.text.trim().replace(/\s+/g, " ").slice(0, 80) || conversation.title;
  emit("chat:asked", number);
  let taken = false, problem = "";
  for await (const record of lines(`conversations/${conversation.id}/ask`, { text, images, instead_of: insteadOf }, control.signal)) {
    if (record.error) problem = record.error;
    else if (record.pane !== undefined) { taken = true; grow(chat.live.answers[record.pane], record); emit("chat:token", record.pane); }
    else if (record.exchange !== undefined) conversation.exchanges[record.exchange] = record;
  }
  if (taken) for (const [pane, answer] of chat.live.answers.entries()) conversation.exchanges[number].answers[pane] ??= { ...answer, end: answer.end === "writing" ? "stopped" : answer.end };
  else conversation.exchanges = before;
  chat.live = control = null;
  if (problem) emit("problem", problem);
  emit("chat:answered", number);
  return taken;
}

function grow(answer, record) {
  if (record.state) answer.state = record.state;
  else if (record.end) Object.assign(answer, { end: record.end, problem: record.problem, seconds: record.seconds });
  else {
    answer.state = "";
    answer.first_s ||= (performance.now() - chat.live.began) / 1000;
    answer.text += record.text;
    answer.tokens.push([record.text, record.logprob, record.alternatives]);
  }
}

async function open() {
  const { models, blind: hidden, system } = chat.draft;
  if (!models.length) { emit("problem", "Choose a model first."); return null; }
  const made = await wanted(post("conversations", { models, blind: hidden, system }));
  if (!made) return null;
  chat.conversation = made;
  const other = Object.entries(SAMPLING).some(([name, value]) => chat.draft.sampling[name] !== value);
  if (other) chat.conversation = (await wanted(post(`conversations/${made.id}/change`, { sampling: chat.draft.sampling }))) || made;
  link(true);
  return chat.conversation;
}

export async function stop() {
  if (!chat.live) return;
  await post(`conversations/${chat.live.id}/stop`);
}

// ---- votes

export async function vote(number, choice) {
  const voted = await wanted(post(`conversations/${chat.conversation.id}/vote`, { exchange: number, choice, reviewer: reviewer() }));
  if (!voted) return;
  chat.conversation = voted;
  emit("chat:voted", number);
}

export async function reveal() {
  const shown = await wanted(post(`conversations/${chat.conversation.id}/reveal`));
  if (!shown) return;
  chat.conversation = shown;
  emit("chat:conversation");
  emit("chat:voted");
}
