// STOP: the red bar at the bottom, Space and Escape. On its own: it imports nothing, so that no error elsewhere can disable it.
// "Sent" is not "confirmed": the first line of the answer says that the studio passed it on, the second that the robot is still.
const SENT_MS = 1500; // without an answer for so long, say that nobody may have heard it
const WRITING = "input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]";

// Only for the record: who pressed it. STOP needs no name, and no body that somebody would wait for.
function who() {
  try {
    return encodeURIComponent(localStorage.getItem("vlm2vla.reviewer") || "reviewer");
  } catch {
    return ""; // a browser that keeps nothing
  }
}

const bar = document.getElementById("vs-stop"), phases = bar.querySelector(".vs-stop-phases");
let newest = 0;

function show(number, steps) {
  if (number < newest) return;
  phases.replaceChildren(...steps.map(([kind, text]) => {
    const item = document.createElement("li");
    item.className = kind;
    item.textContent = text;
    return item;
  }));
  bar.dataset.phase = steps.length ? steps[steps.length - 1][0] : "";
}

export async function stop() {
  const number = ++newest, began = performance.now();
  const since = () => `${Math.round(performance.now() - began)} ms`;
  const unheard = ["failed", "No answer from the studio: press the run-stop on the robot"];
  let steps = [["sending", "sending…"]];
  const put = (...next) => { steps = next; show(number, steps); };
  put(["sending", "sending…"]);
  dispatchEvent(new CustomEvent("vs-stop", { detail: number })); // a second way, where a socket is open
  const late = setTimeout(() => steps[0][0] === "sending" && put(unheard), SENT_MS);
  try {
    const response = await fetch(`/drive/stop?reviewer=${who()}`, { method: "POST", keepalive: true });
    if (!response.ok) throw new Error(await response.text());
    for await (const line of lines(response.body)) {
      if (line.state === "sent") put(["sent", `sent ✓ ${since()}`], ["waiting", "waiting for the robot…"]);
      else put(["sent", "sent ✓"], outcome(line, since()));
    }
  } catch {
    put(unheard);
  } finally {
    clearTimeout(late);
  }
}

// What became of a STOP: this page's or another one's.
function outcome(line, took) {
  if (line.state === "confirmed") return ["confirmed", `confirmed by the robot ✓ ${took}`];
  if (line.state === "nothing") return ["nothing", "no robot is connected"];
  return ["failed", `Not confirmed: press the run-stop on the robot. ${line.message || ""}`];
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const parts = (rest + (value || "")).split("\n");
    rest = done ? "" : parts.pop();
    for (const part of parts) if (part.trim()) yield JSON.parse(part);
    if (done) return;
  }
}

// Somebody else pressed it: say so, unless this page has something of its own to say.
addEventListener("vs-stopped", ({ detail }) => {
  if (bar.dataset.phase && Date.now() - Number(bar.dataset.own || 0) < 8000) return;
  const who = detail.by ? `by ${detail.by} ` : "";
  show(newest, [["sent", `sent ${who}✓`], detail.state === "sent" ? ["waiting", "waiting for the robot…"] : outcome(detail, `${Math.round(detail.ms)} ms`)]);
});

addEventListener("vs-began", () => show(++newest, []));

function press() {
  bar.dataset.own = String(Date.now());
  stop();
}

bar.querySelector("button").addEventListener("pointerdown", (event) => { event.preventDefault(); press(); });
// Escape always; Space unless somebody is writing. In the capture phase, before any dialog or control can take the key.
addEventListener("keydown", (event) => {
  const space = event.key === " " && !event.target.closest?.(WRITING);
  if ((event.key !== "Escape" && !space) || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (space) event.preventDefault();
  if (!event.repeat) press();
}, true);
addEventListener("keyup", (event) => { if (event.key === " " && !event.target.closest?.(WRITING)) event.preventDefault(); }, true);
