// The bar over the panes: views, name of the conversation, what is drawn over the answers, blind mode, export, link.
import { begin, blind, busy, chat, panes, post, reveal, setShow, wanted } from "./chat_store.js";
import { button, fill, h, icon, notice } from "./dom.js";
import { emit, on } from "./store.js";

export function makeBar(views) {
  const tabs = h("div", { class: "vs-modes", role: "group", "aria-label": "View" }, Object.entries(views).map(([name, [label, key]]) => button(label, key, () => emit("chat:view", name), { dataset: { view: name } })));
  const title = h("input", { class: "vs-chat-title", "aria-label": "Name of the conversation", maxlength: 120, onchange: rename });
  const toggle = (name, label, key, about) => button(label, key, () => setShow(name), { title: about, dataset: { show: name } });
  const shows = h("div", { class: "vs-shows" },
    toggle("differences", "Differences", "D", "Underline the words in which the answers differ"),
    toggle("probabilities", "Probabilities", "P", "Shade every token by how probable the model found it; point at one for the alternatives"));
  const hide = button("Blind", "B", toggleBlind, { class: "vs-blind", title: "Hide the names and shuffle the sides, vote, then reveal" });
  const show = button("Reveal", "R", reveal, { class: "primary vs-blind", title: "Show which side is which" });
  const keep = h("select", { "aria-label": "Export", title: "Keep this conversation as a file", onchange: () => { exportAs(keep.value); keep.value = ""; } }, h("option", { value: "" }, "Export"), h("option", { value: "zip" }, "With images (zip)"), h("option", { value: "md" }, "Markdown"), h("option", { value: "json" }, "JSON"));
  const copy = h("button", { type: "button", class: "icon", title: "Copy a link that restores this conversation", "aria-label": "Copy link", onclick: copyLink }, icon("link"));
  const help = h("button", { type: "button", class: "icon help", title: "Keys", "aria-label": "Keys", onclick: () => emit("help") }, "?");
  const element = h("header", { class: "vs-chat-bar" }, tabs, title, shows, hide, show, keep, copy, help);

  function rename() {
    const id = chat.conversation?.id;
    if (id) wanted(post(`conversations/${id}/change`, { name: title.value })).then((changed) => { if (changed) { Object.assign(chat.conversation, { name: changed.name, title: changed.title }); emit("chat:renamed"); draw(); } });
  }

  function exportAs(kind) {
    if (blind()) return notice("Reveal the sides first: an export names them.", "bad");
    if (kind) location.assign(`/chat/api/conversations/${chat.conversation.id}/export.${kind}`);
  }

  function copyLink() {
    navigator.clipboard?.writeText(location.href).then(() => notice("Link copied; it restores models, settings and turns."), () => notice(location.href));
  }

  function draw() {
    const there = Boolean(chat.conversation);
    if (document.activeElement !== title) title.value = chat.conversation?.title || "";
    title.placeholder = there ? "" : "New conversation";
    title.disabled = !there || busy();
    keep.disabled = !there || busy();
    for (const node of shows.children) node.setAttribute("aria-pressed", String(chat.show[node.dataset.show]));
    hide.setAttribute("aria-pressed", String(blind()));
    hide.hidden = there && blind();
    hide.disabled = busy() || panes().length < 2;
    show.hidden = !there || !blind();
    show.disabled = busy();
  }

  for (const topic of ["chat:conversation", "chat:show", "chat:asked", "chat:answered", "chat:models", "chat:voted"]) on(topic, draw);
  draw();
  return { element, mark: (name) => { for (const node of tabs.children) node.setAttribute("aria-pressed", String(node.dataset.view === name)); element.dataset.view = name; } };
}

export function toggleBlind() {
  if (busy() || panes().length < 2) return;
  if (!chat.conversation) { chat.draft.blind = !chat.draft.blind; if (chat.draft.blind) chat.draft.models = chat.draft.models.slice(0, 2); emit("chat:conversation"); }
  else if (blind()) reveal();
  else begin({ blind: true });
}
