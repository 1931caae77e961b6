// The bar at the bottom of the inspector: accept, reject, flag, annotate again, split, merge. Questions open above it.
import { actions } from "./actions.js";
import { button, fill, h } from "./dom.js";
import { change, emit, on, state } from "./store.js";

const REASONS = {
  reject: ["Wrong object", "Wrong boundaries", "Motion does not match", "Bad recording"],
  flag: ["Unsure", "Ask a second person", "Unclear picture"],
};
const ASKS = { reject: "Why is it wrong?", flag: "What should somebody look at?" };

export function makeReview() {
  const accept = button("Accept", "A", actions.accept, { class: "accept" });
  const reject = button("Reject", "R", actions.reject);
  const flag = button("Flag", "F", actions.flag);
  const pop = h("div", { class: "vs-pop", hidden: true });
  const main = h("div", { class: "vs-verdict-main" }, accept, button("Accept, next", "D", actions.acceptAndNext, { class: "accept", title: "Accept and go to the next subtask or episode (D)" }), reject, flag);
  const minor = h("div", { class: "vs-verdict-minor" }, button("Re-annotate", "G", actions.again, { title: "Let an annotator do this subtask again (G)" }),
    button("Accept all", "⇧A", actions.acceptEpisode, { title: "Accept every subtask of the episode (Shift+A)" }), button("Next episode", "N", actions.nextEpisode));
  const element = h("footer", { class: "vs-verdict" }, pop, main, minor);

  const close = () => { pop.hidden = true; fill(pop); };
  on("ask", (kind) => {
    fill(pop, kind === "again" ? askAgain(close) : askReason(kind, close));
    pop.hidden = false;
    pop.querySelector("input[type=text]").focus();
  });
  on("span", close);
  pop.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); close(); } });

  return {
    element,
    draw: (span) => {
      accept.setAttribute("aria-pressed", span.status === "accepted");
      reject.setAttribute("aria-pressed", span.status === "rejected");
      flag.setAttribute("aria-pressed", span.status === "flagged");
    },
  };
}

function askReason(kind, close) {
  const input = h("input", { type: "text", placeholder: "Reason", "aria-label": "Reason", maxlength: 200 });
  const status = kind === "reject" ? "rejected" : "flagged";
  const done = (reason) => { close(); actions.setStatus(status, reason.trim()); };
  return h("form", { onsubmit: (event) => { event.preventDefault(); done(input.value); } }, h("b", {}, ASKS[kind]),
    h("div", { class: "vs-chips" }, REASONS[kind].map((reason) => h("button", { type: "button", onclick: () => done(reason) }, reason))),
    h("div", { class: "vs-inline" }, input, button(kind === "reject" ? "Reject" : "Flag", "Enter", () => done(input.value), { class: "primary" }), button("Cancel", "Esc", close)));
}

function askAgain(close) {
  const hint = h("input", { type: "text", placeholder: "Hint, e.g. it grasps the spoon first", "aria-label": "Hint", maxlength: 300 });
  const choice = h("select", { "aria-label": "Annotator" }, h("option", { value: "kinematic" }, "From the numbers (free)"), h("option", { value: "gemini" }, "Gemini (paid)"));
  const go = async () => {
    close();
    emit("busy", true);
    await change("reannotate", { uid: state.span, annotator: choice.value, hint: hint.value.trim() });
    emit("busy", false);
  };
  return h("form", { onsubmit: (event) => { event.preventDefault(); go(); } }, h("b", {}, "Annotate this subtask again"), h("div", { class: "vs-inline" }, choice, hint),
    h("div", { class: "vs-inline" }, button("Annotate", "Enter", go, { class: "primary" }), button("Cancel", "Esc", close)));
}
