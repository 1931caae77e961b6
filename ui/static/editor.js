// A text box that grows with its text and saves when it is left or on Enter. What is being typed is never overwritten by an
// answer from the server; Escape puts the saved text back.
import { h } from "./dom.js";

export function editor(onsave, label, { mono = false } = {}) {
  const box = h("textarea", { rows: 1, spellcheck: mono ? "false" : "true", "aria-label": label, class: mono ? "mono" : "" });
  let key = "", saved = "", owner = "";

  const dirty = () => box.value !== saved;
  const grow = () => { box.style.height = "0"; box.style.height = `${box.scrollHeight + 2}px`; };

  function commit() {
    const text = box.value.replace(/\s*\n\s*/g, " ").trim();
    if (!text) { box.value = saved; grow(); return; }
    if (text === saved) { box.value = saved; return; }
    saved = text;
    box.value = text;
    onsave(text, owner);
  }

  box.addEventListener("input", grow);
  box.addEventListener("blur", commit);
  box.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); box.blur(); }
    if (event.key === "Escape") { event.stopPropagation(); box.value = saved; grow(); box.blur(); }
  });
  new ResizeObserver(() => { if (box.clientWidth) grow(); }).observe(box);

  return {
    element: box,
    value: () => box.value.trim(),
    focus: () => { box.focus(); box.select(); },
    draw: (nextKey, text) => {
      if (key !== nextKey && dirty() && key) commit();
      if (key === nextKey && document.activeElement === box && dirty()) return;
      key = nextKey;
      owner = nextKey.split("/")[0];
      saved = text;
      if (box.value !== text) { box.value = text; grow(); }
    },
  };
}
