// Before the first question: examples by skill, over pictures that ship with the studio.
import { chat, setSystem } from "./chat_store.js";
import { fill, h } from "./dom.js";
import { emit, on } from "./store.js";

export function makeExamples() {
  const skills = h("div", { class: "vs-chips", role: "group", "aria-label": "Skills" }), cards = h("div", { class: "vs-cards" });
  const element = h("section", { class: "vs-examples-by-skill", "aria-label": "Examples" }, h("h2", {}, "Try a question"), skills, cards);
  let skill = "";

  function draw() {
    const all = chat.examples, names = [...new Set((all || []).map((example) => example.skill))];
    skill ||= names[0] || "";
    fill(skills, names.map((name) => h("button", { type: "button", "aria-pressed": String(name === skill), onclick: () => { skill = name; draw(); } }, name)));
    if (all && !all.length) return fill(cards, h("p", { class: "vs-dim" }, "The pictures with example questions are not in this checkout (assets/vqa/tabletop). Ask anything, with or without an image."));
    fill(cards, all ? all.filter((example) => example.skill === skill).map(card) : [1, 2, 3, 4].map(() => h("div", { class: "vs-card vs-skeleton" }, h("i"))));
  }

  const choose = (example) => { setSystem(example.system); emit("chat:question", { text: example.text, images: example.image ? [example.image] : [] }); };
  const card = (example) => h("button", { type: "button", class: "vs-card", onclick: () => choose(example), title: "Put it into the box below" }, example.image ? h("img", { src: `/chat/images/${example.image}.jpg`, alt: "", width: 224, height: 224 }) : h("span", { class: "vs-card-text", "aria-hidden": "true" }, "“ ”"), h("span", {}, example.text));
  on("chat:examples", draw);
  draw();
  return { element, show: (on) => { element.hidden = !on; } };
}
