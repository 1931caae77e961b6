// How answers are sampled: a drawer over the composer. Greedy by default, so that a question asked twice is answered twice the same.
import { SAMPLING, chat, sampling, setSampling, setSystem } from "./chat_store.js";
import { button, fill, h } from "./dom.js";
import { on } from "./store.js";

const FIELDS = {
  temperature: ["temperature", { min: 0, max: 5, step: 0.1 }, "0 takes the most probable token; above, tokens are drawn"],
  top_p: ["top-p", { min: 0.01, max: 1, step: 0.05 }, "Only the most probable tokens that make up this share"],
  seed: ["seed", { min: 0, max: 2147483647, step: 1 }, "The same seed gives the same answer; every model gets the same"],
  max_new_tokens: ["longest answer", { min: 1, max: 8192, step: 1 }, "Tokens"],
};

export function makeSettings() {
  const toggle = h("button", { type: "button", class: "vs-settings-toggle", "aria-expanded": "false", title: "Sampling and standing order", onclick: () => open(drawer.hidden) });
  const inputs = Object.fromEntries(Object.entries(FIELDS).map(([name, [label, limits]]) => [name, h("input", { type: "number", ...limits, "aria-label": label, onchange: () => keep(name) })]));
  const system = h("textarea", { rows: 2, placeholder: "Standing order before the first question (system)", "aria-label": "Standing order", onchange: () => setSystem(system.value) });
  const drawer = h("div", { class: "vs-settings", hidden: true },
    Object.entries(FIELDS).map(([name, [label, , about]]) => h("label", { title: about }, h("span", {}, label), inputs[name])),
    button("Back to greedy", "", () => setSampling({ ...SAMPLING }), { class: "small" }), system);

  function open(on) {
    drawer.hidden = !on;
    toggle.setAttribute("aria-expanded", String(on));
    if (on) inputs.temperature.focus();
  }

  function keep(name) {
    const value = Number(inputs[name].value), [, { min, max }] = FIELDS[name];
    if (inputs[name].value === "" || !Number.isFinite(value)) return draw();
    setSampling({ [name]: Math.min(max, Math.max(min, name === "seed" || name === "max_new_tokens" ? Math.round(value) : value)) });
  }

  function draw() {
    const now = sampling();
    for (const [name, input] of Object.entries(inputs)) input.value = now[name];
    inputs.top_p.disabled = inputs.seed.disabled = now.temperature === 0;
    if (document.activeElement !== system) system.value = chat.conversation?.system ?? chat.draft.system;
    fill(toggle, h("span", {}, now.temperature === 0 ? "greedy" : `temp ${now.temperature}, seed ${now.seed}`), system.value.trim() ? h("span", { class: "vs-badge", title: system.value }, "standing order") : null);
  }

  for (const topic of ["chat:settings", "chat:conversation", "chat:asked", "chat:answered"]) on(topic, draw);
  draw();
  return { toggle, drawer };
}
