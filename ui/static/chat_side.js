// The conversations so far: search, open, rename, delete; and what the blind votes say.
import { begin, chat, get, openConversation, post, wanted } from "./chat_store.js";
import { button, debounce, fill, h, icon, notice, plural, when } from "./dom.js";
import { emit, on } from "./store.js";

export function makeSide() {
  const search = h("input", { type: "search", placeholder: "Search what was said", "aria-label": "Search conversations", oninput: debounce(200, () => load()) });
  const list = h("ul", { class: "vs-chats", "aria-label": "Conversations" }), wins = h("section", { class: "vs-wins", "aria-label": "Blind votes" });
  const element = h("aside", { class: "vs-chat-side" },
    h("header", {}, button("New", "N", () => { begin(); emit("chat:view", "conversation"); }, { class: "primary", title: "Begin a new conversation" }), search), list, wins);
  let rows = null, asked = 0;

  async function load() {
    const ticket = ++asked;
    const { ok, error } = await get(`conversations?q=${encodeURIComponent(search.value)}`);
    if (ticket !== asked) return;
    rows = ok || [];
    draw(error);
  }

  function draw(error = "") {
    if (!rows) return fill(list, [1, 2, 3].map(() => h("li", { class: "vs-skeleton" }, h("span", { class: "vs-item-text" }, h("i"), h("i")))));
    if (error) return fill(list, h("li", { class: "vs-problem" }, error));
    if (!rows.length) return fill(list, h("li", { class: "vs-none" }, search.value ? "Nothing like that was said." : "Conversations are kept here."));
    fill(list, rows.map((row) => h("li", { class: row.id === chat.conversation?.id ? "on" : "" },
      h("button", { type: "button", class: "vs-past", "aria-current": row.id === chat.conversation?.id ? "true" : null, onclick: () => { openConversation(row.id); emit("chat:opened"); } },
        h("span", {}, row.title), h("small", {}, [row.models.join(" | ") || "blind", plural(row.questions, "question"), when(new Date(row.changed * 1000).toISOString())].join(" · "))),
      h("button", { type: "button", class: "icon small", title: "Delete", "aria-label": `Delete ${row.title}`, onclick: () => forget(row) }, icon("close")))));
  }

  async function forget(row) {
    if (!confirm(`Delete “${row.title}”? Its votes stay in the log.`)) return;
    if ((await wanted(post(`conversations/${row.id}/delete`))) === undefined) return;
    if (row.id === chat.conversation?.id) begin();
    notice("Deleted.");
    load();
  }

  async function loadWins() {
    const rates = (await get("wins")).ok || [];
    fill(wins, h("h2", { title: "Votes given while the names were hidden, counted once they are revealed. The line is the 95 % interval (Wilson); ties count for neither." }, "Blind votes"),
      rates.length ? rates.map(winRow) : h("p", { class: "vs-dim" }, "None yet. ", h("b", {}, "Blind"), " hides the names and shuffles the sides; votes are counted once you reveal them."));
  }

  for (const topic of ["chat:answered", "chat:renamed", "chat:voted"]) on(topic, load);
  on("chat:conversation", () => draw());
  on("chat:voted", loadWins);
  load();
  loadWins();
  return { element };
}

function winRow(rate) {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const [low, high] = rate.interval || [0, 1];
  const span = rate.rate === null ? null : h("i", { style: `left:${100 * low}%;width:${100 * (high - low)}%` });
  return h("div", { class: "vs-win" },
    h("div", {}, h("b", {}, rate.first), h("span", {}, `${rate.wins} : ${rate.losses}`), h("b", {}, rate.second)),
    h("div", { class: "vs-win-bar", role: "img", "aria-label": rate.rate === null ? "no decided votes" : `${rate.first} wins ${percent(rate.rate)}, 95 % interval ${percent(low)} to ${percent(high)}` }, span, rate.rate === null ? null : h("em", { style: `left:${100 * rate.rate}%` })),
    h("small", {}, [rate.rate === null ? "" : `${rate.first} ${percent(rate.rate)} (${percent(low)} to ${percent(high)})`, plural(rate.ties, "tie"), `${rate.both_bad} both bad`].filter(Boolean).join(", ")));
}
