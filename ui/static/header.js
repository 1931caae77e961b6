// The bar at the top: the pages of the studio, workspace, the reviewer's name, light and dark.
import { fill, h, icon } from "./dom.js";
import { emit, reviewer, setReviewer, state } from "./store.js";

const THEME = "vlm2vla.theme";
const PAGES = { Annotate: "/", Chat: "/chat", Drive: "/drive", Train: "/train" };

export function mountHeader(element, server) {
  const workspace = h("span", { class: "vs-workspace" }), person = h("span", { class: "vs-user" });
  const theme = h("button", { type: "button", class: "icon", title: "Light or dark", "aria-label": "Light or dark", onclick: () => applyTheme(!document.body.classList.contains("dark"), theme) });
  const name = h("input", { value: reviewer(), maxlength: 60, "aria-label": "Your name", title: "Your name, kept in this browser; it signs what you change", onchange: (event) => setReviewer(event.target.value) });
  const brand = h("a", { href: "/", class: "vs-brand" }, h("img", { src: "/ui/logo.svg", alt: "", width: 24, height: 24 }), h("b", {}, "VLM2VLA Studio"));
  const nav = h("nav", { class: "vs-nav", "aria-label": "Pages" }, Object.entries(PAGES).map(([page, href]) => h("a", { href, "aria-current": location.pathname === href ? "page" : null }, page)));
  fill(person, h("label", {}, h("span", {}, "Reviewer"), name));
  fill(element, h("div", { class: "vs-header" }, brand, nav, h("div", { class: "vs-header-right" }, workspace, person, theme)));
  const wanted = localStorage.getItem(THEME);
  applyTheme(wanted ? wanted === "dark" : document.body.classList.contains("dark"), theme, Boolean(wanted));
  greet(server, workspace, person);
}

// Where the studio keeps its files, and who logged in when it has a password.
async function greet(server, workspace, person) {
  const { ok } = await server.hello({}).catch(() => ({}));
  if (!ok) return;
  fill(workspace, ok.workspace.split("/").pop());
  workspace.title = ok.workspace;
  if (!ok.user) return;
  state.user = ok.user;
  fill(person, ok.user);
  person.title = "The name you logged in with";
}

function applyTheme(dark, toggle, keep = true) {
  document.body.classList.toggle("dark", dark);
  document.documentElement.classList.toggle("vs-dark", dark);
  if (keep) localStorage.setItem(THEME, dark ? "dark" : "light");
  fill(toggle, icon(dark ? "sun" : "moon"));
  emit("theme");
}
