// Images from elsewhere: a file, what a camera of the open robot sees now, a frame of a recorded episode.
import { get, post } from "./chat_store.js";
import { button, debounce, fill, h, icon, plural } from "./dom.js";
import { emit } from "./store.js";

// add: takes the answer with an image's id, on its way; choose: opens the file chooser.
export function makeAttach({ add, choose }) {
  const dialog = h("dialog", { class: "vs-dialog vs-mount vs-attach-dialog", "aria-label": "Image" });
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  const element = h("select", { class: "vs-attach", "aria-label": "Add an image", title: "Add an image; pasting and dropping work too", onchange: () => { const wanted = element.value; element.value = ""; ({ file: choose, camera, episode })[wanted]?.(); } },
    [["", "+ Image"], ["file", "From a file…"], ["camera", "What a camera sees now…"], ["episode", "Frame of an episode…"]].map(([value, label]) => h("option", { value }, label)));

  const head = (title) => h("header", {}, h("h2", {}, title), h("button", { type: "button", class: "icon", "aria-label": "Close", onclick: () => dialog.close() }, icon("close")));

  async function camera() {
    fill(dialog, head("What a camera sees now"), h("p", { class: "vs-dim" }, "Looking for a robot…"));
    dialog.showModal();
    const state = await fetch("/drive/state").then((response) => response.json(), () => null), cameras = state?.robot?.cameras || [];
    if (!cameras.length) return fill(dialog, head("What a camera sees now"), h("p", {}, "No robot is open. Open one on the ", h("a", { href: "/drive" }, "Drive page"), "; the simulated one needs no hardware."));
    fill(dialog, head(state.robot.title || "What a camera sees now"), h("div", { class: "vs-cards" }, cameras.map(({ name, title }) => h("button", { type: "button", class: "vs-card", onclick: () => { dialog.close(); add(still(name)); } }, h("img", { src: `/drive/camera/${encodeURIComponent(name)}/still.jpg?px=320`, alt: "" }), h("span", {}, title || name)))));
  }

  async function episode() {
    const search = h("input", { type: "search", placeholder: "Search instructions", "aria-label": "Search episodes", oninput: debounce(200, load) }), list = h("ul", { class: "vs-attach-list" }), look = h("div", { class: "vs-attach-look" }, h("p", { class: "vs-dim" }, "Choose an episode."));
    fill(dialog, head("Frame of an episode"), h("div", { class: "vs-attach-columns" }, h("div", {}, search, list), look));
    dialog.showModal();
    await load();

    async function load() {
      const { ok: rows, error } = await get(`episodes?q=${encodeURIComponent(search.value)}`);
      if (error) return fill(list, h("li", { class: "vs-problem" }, error));
      if (!rows.length) return fill(list, h("li", { class: "vs-dim" }, search.value ? "No instruction has these words." : "No episodes yet; import some on the Annotate page."));
      fill(list, rows.map((row) => h("li", {}, h("button", { type: "button", onclick: () => open(row) }, h("span", {}, row.instruction), h("small", {}, `${row.dataset} · ${plural(row.steps, "step")}`)))));
    }

    async function open(row) {
      const { ok, error } = await get(`episodes/${encodeURIComponent(row.id)}`);
      if (error || !ok.cameras.length) return fill(look, h("p", { class: "vs-problem" }, error || "This recording has no images."));
      const image = h("img", { alt: "Frame" }), step = h("input", { type: "range", min: 0, max: ok.steps - 1, value: 0, "aria-label": "Step", oninput: draw }), view = h("select", { "aria-label": "Camera", onchange: draw }, ok.cameras.map((name) => h("option", {}, name))), told = h("output", {});
      function draw() { image.src = `/media/${encodeURIComponent(row.id)}/${encodeURIComponent(view.value)}/${step.value}.jpg`; told.value = `step ${step.value} of ${ok.steps - 1}`; }
      fill(look, h("b", {}, ok.instruction), image, h("div", { class: "vs-inline" }, view, step, told), button("Use this frame", "", () => { dialog.close(); add(post("images/frame", { episode: row.id, camera: view.value, step: Number(step.value) })); }, { class: "primary" }));
      draw();
    }
  }

  return { element };
}

async function still(name) {
  const response = await fetch(`/drive/camera/${encodeURIComponent(name)}/still.jpg`).catch(() => null);
  if (!response?.ok) return { error: "The camera gave no picture; is the robot still open?" };
  if (response.headers.get("x-lost")) emit("problem", `The picture is old: ${response.headers.get("x-lost")}`);
  return post("images", await response.blob());
}
