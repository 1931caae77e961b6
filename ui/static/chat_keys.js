// The keyboard of the Chat page; keys rest while you type.
import { toggleBlind } from "./chat_bar.js";
import { begin, blind, busy, chat, reveal, setShow, stop, vote } from "./chat_store.js";
import { makeHelp, nameOf } from "./help.js";
import { emit, on } from "./store.js";

export const CHOICES = [["left", "1", "ArrowLeft", "←"], ["right", "2", "ArrowRight", "→"], ["tie", "3", "ArrowUp", "↑"], ["both bad", "4", "ArrowDown", "↓"]];

export function startChatKeys({ composer, show, view }) {
  const choose = (choice) => { const last = (chat.conversation?.exchanges.length || 0) - 1; if (blind() && chat.conversation && last >= 0 && !busy()) { vote(last, choice); return true; } return false; };
  const keys = {
    "Ask": [
      ["", "Enter", "Ask (Shift+Enter: a new line)", null],
      ["", "Esc", "Stop the answers; leave the text", null],
      ["/", "/", "Write a question", () => composer.focus()],
      ["e", "E", "Edit the last question", () => emit("chat:edit")],
      ["n", "N", "New conversation", () => { begin(); show("conversation"); composer.focus(); }],
      ["m", "M", "Models", () => emit("chat:manage")],
    ],
    "Look": [
      ["d", "D", "Differences", () => setShow("differences")],
      ["p", "P", "Probabilities", () => setShow("probabilities")],
      ["l", "L", "Likelihood lens and back", () => show(view() === "lens" ? "conversation" : "lens")],
      ["t", "T", "Retention and back", () => show(view() === "retention" ? "conversation" : "retention")],
      ["?", "?", "Show or hide this list", () => emit("help")],
    ],
    "Blind": [
      ["b", "B", "Hide the names", toggleBlind],
      ...CHOICES.map(([choice, digit, , arrow]) => [digit, `${digit} ${arrow}`, { left: "Left is better", right: "Right is better", tie: "As good", "both bad": "Both bad" }[choice], () => choose(choice)]),
      ["r", "R", "Reveal", () => { if (blind() && chat.conversation && !busy()) reveal(); }],
    ],
  };
  const table = new Map(Object.values(keys).flat().filter(([, , , action]) => action).map(([pressed, , , action]) => [pressed, action]));
  const arrows = new Map(CHOICES.map(([choice, , arrow]) => [arrow, choice]));
  const overlay = makeHelp(keys, "They rest while you type.");
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (overlay.open) overlay.close();
      else if (document.querySelector("dialog[open]")) return;
      else if (busy()) stop();
      else document.activeElement?.blur?.();
      return;
    }
    if (event.target.closest?.("textarea, input, select, dialog, .vs-tokens")) return;
    const name = nameOf(event);
    if (arrows.has(name)) { if (choose(arrows.get(name))) event.preventDefault(); return; }
    const action = table.get(name);
    if (!action || event.repeat) return;
    event.preventDefault();
    action();
  });
  on("help", () => (overlay.open ? overlay.close() : overlay.showModal()));
}
