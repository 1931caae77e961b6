// The models of this workspace: what they are, add one by folder or address, check, remove.
import { chat, get, loadModels, post } from "./chat_store.js";
import { button, fill, h, icon } from "./dom.js";
import { on } from "./store.js";

const KINDS = { base: "base model", adapter: "adapter", checkpoint: "fine-tuned", openai: "OpenAI-compatible server", gemini: "Gemini" };
const ACTIONS = { "": "none", language: "in words", tokens: "in action tokens" };

export function makeModels() {
  const list = h("ul", { class: "vs-models" }), problem = h("p", { class: "vs-problem", role: "alert" });
  const field = (label, name, about, props = {}) => h("label", { title: about }, h("span", {}, label), h("input", { type: "text", name, placeholder: about, ...props }));
  const form = h("form", { class: "vs-model-form", onsubmit: add }, field("name", "name", "lora-2", { maxlength: 64, required: true }), field("where", "where", "folder, hub id or http://server/v1", { required: true }),
    field("base", "base", "adapters: name or folder, if it does not say"), field("model", "model", "servers: its name over there"),
    h("label", { title: "How it writes actions; what its folder says itself counts where none is chosen" }, h("span", {}, "actions"), h("select", { name: "actions" }, Object.entries(ACTIONS).map(([value, label]) => h("option", { value }, label)))), h("button", { type: "submit", class: "primary" }, "Add"));
  const close = h("button", { type: "button", class: "icon", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"));
  const dialog = h("dialog", { class: "vs-dialog vs-mount vs-models-dialog", "aria-label": "Models" }, h("header", {}, h("h2", {}, "Models"), h("span", { class: "vs-dim" }, "Adapters of one base share its weights in memory."), close), list, h("h3", {}, "Add one"), form, problem);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);

  function draw() {
    fill(list, (chat.models || []).map(row), chat.models?.length === 0 ? h("li", { class: "vs-dim" }, "None yet.") : null);
  }

  function row(entry) {
    const found = h("div", { class: "vs-model-found" });
    const about = [KINDS[entry.kind], entry.base ? `on ${entry.base.split("/").pop()}` : "", entry.actions === "tokens" ? "action tokens" : entry.actions ? "action language" : "", entry.note].filter(Boolean).join(" · ");
    return h("li", {}, h("b", {}, entry.name), h("span", {}, about), h("small", { title: entry.path || entry.url }, entry.path || entry.url || entry.model),
      h("span", { class: "vs-inline" }, button("Check", "", () => check(entry, found), { class: "small", title: "Load it and ask small questions" }), entry.shipped ? h("span", { class: "vs-badge" }, "ships with the studio") : button("Remove", "", () => remove(entry), { class: "small", title: "Forget it; its files stay" })), found);
  }

  async function check(entry, found) {
    fill(found, h("span", { class: "vs-dim" }, "Loading and asking…"));
    const { ok, error } = await post(`models/${encodeURIComponent(entry.name)}/check`);
    if (error) return fill(found, h("span", { class: "vs-problem" }, error));
    fill(found, ok.problems.map((text) => h("span", { class: "vs-problem" }, `✗ ${text}`)), ok.ok ? h("span", { class: "vs-yes" }, "✓ is what it says") : null, ok.difference === null ? null : h("span", {}, `largest change of a logit against its base: ${ok.difference.toPrecision(3)}`), ok.facts.map((text) => h("span", { class: "vs-dim" }, text)));
  }

  async function remove(entry) {
    const { error } = await post(`models/${encodeURIComponent(entry.name)}/remove`);
    fill(problem, error || "");
    await loadModels();
  }

  async function add(event) {
    event.preventDefault();
    const body = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value).trim()]));
    const { error } = await post("models", body);
    fill(problem, error || "");
    if (error) return;
    form.reset();
    await loadModels();
  }

  on("chat:models", draw);
  draw();
  return { open: () => { fill(problem); if (!dialog.open) dialog.showModal(); get("models").then(({ ok }) => { if (ok) { chat.models = ok; draw(); } }); } };
}
