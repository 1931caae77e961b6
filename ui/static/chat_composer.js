// Where questions are written: text, images that were pasted, dropped, uploaded or taken from elsewhere, settings.
import { makeAttach } from "./chat_attach.js";
import { makeSettings } from "./chat_settings.js";
import { MAX_IMAGES, ask, busy, chat, post, stop } from "./chat_store.js";
import { button, fill, h, icon } from "./dom.js";
import { emit, on } from "./store.js";

export function makeComposer() {
  const text = h("textarea", { rows: 1, maxlength: 20000, placeholder: "Ask anything, about an image or not", "aria-label": "Question" });
  const strip = h("div", { class: "vs-attached" }), send = button("Ask", "Enter", submit, { class: "primary vs-send" }), halt = button("Stop", "Esc", stop, { class: "vs-halt" });
  const file = h("input", { type: "file", accept: "image/*", multiple: true, hidden: true, onchange: () => { upload([...file.files]); file.value = ""; } });
  const attach = makeAttach({ add, choose: () => file.click() }), settings = makeSettings();
  const element = h("section", { class: "vs-composer", "aria-label": "Ask" }, settings.drawer, strip,
    h("div", { class: "vs-composer-row" }, attach.element, text, settings.toggle, send, halt), file);
  let images = [], loading = 0;

  function draw() {
    strip.hidden = !images.length && !loading;
    fill(strip, images.map((image, index) => h("figure", {}, h("img", { src: `/chat/images/${image}.jpg`, alt: `Image ${index + 1}` }), h("button", { type: "button", class: "icon small", title: "Take it away", "aria-label": `Take image ${index + 1} away`, onclick: () => { images.splice(index, 1); draw(); } }, icon("close")))), loading ? h("figure", { class: "vs-skeleton" }, h("i")) : null);
    send.hidden = busy();
    halt.hidden = !busy();
    send.disabled = !chat.models?.length || Boolean(loading);
  }

  function fit() { text.style.height = "auto"; text.style.height = `${Math.min(text.scrollHeight + 2, 132)}px`; }

  async function submit() {
    if (busy() || loading || !chat.models?.length) return;
    const question = text.value, shown = images;
    if (!question.trim()) { emit("problem", "Write a question first."); text.focus(); return; }
    text.value = "";
    images = [];
    fit();
    draw();
    if (await ask(question, shown)) return;
    if (!text.value && !images.length) { text.value = question; images = shown; fit(); draw(); } // refused: nothing is lost
  }

  async function upload(files) {
    for (const one of files.slice(0, MAX_IMAGES)) await add(post("images", one));
  }

  // Take in an image whose id is on its way.
  async function add(coming) {
    loading += 1;
    draw();
    const { ok, error } = await coming;
    loading -= 1;
    if (error) emit("problem", error);
    else if (images.length >= MAX_IMAGES) emit("problem", `A question shows at most ${MAX_IMAGES} images.`);
    else if (!images.includes(ok)) images.push(ok);
    draw();
    text.focus();
  }

  text.addEventListener("input", fit);
  text.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); } });
  addEventListener("paste", (event) => { const found = [...(event.clipboardData?.files || [])].filter((one) => one.type.startsWith("image/")); if (found.length) { event.preventDefault(); upload(found); } });
  for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    element.classList.toggle("over", over);
    if (name === "drop") upload([...event.dataTransfer.files]);
  });
  for (const topic of ["chat:asked", "chat:answered", "chat:models"]) on(topic, draw);
  draw();
  return { element, submit, focus: () => text.focus(), set: ({ text: words, images: shown = [] }) => { text.value = words; images = [...shown]; fit(); draw(); text.focus(); } };
}
