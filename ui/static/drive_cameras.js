// The cameras: one large, the others beside it; a click or C makes another one large. Live pictures are MJPEG streams, which
// end while the page is hidden: a browser has few connections, and nobody looks. Recorded ones are single pictures.
import { fill, h } from "./dom.js";
import { live } from "./drive_live.js";
import { on } from "./store.js";

const OLD_S = 1; // an older picture says how old it is
const RETRY_MS = 1000;
const WIDE = 1600;
const ATTEMPTS = 30;

// A frame with a caption and a veil for when there is nothing to see.
function makeView(onclick) {
  const image = h("img", { alt: "", draggable: "false" }), caption = h("figcaption", {}), veil = h("div", { class: "vs-veil", hidden: true });
  const node = h("figure", { class: "vs-camera", onclick }, image, veil, caption);
  return { node, image, caption, veil };
}

export function makeCameras() {
  const large = makeView(), strip = h("div", { class: "vs-thumbs" });
  const element = h("div", { class: "vs-cameras" }, large.node, strip);
  let cameras = [], chosen = "", thumbs = [], source = null;

  const order = () => [chosen, ...cameras.map((camera) => camera.name).filter((name) => name !== chosen)];
  const title = (name) => cameras.find((camera) => camera.name === name)?.title || name;
  const views = () => [large, ...thumbs];

  function choose(name) {
    chosen = name;
    arrange();
  }

  function arrange() {
    const names = order();
    thumbs = names.slice(1).map((name) => {
      const view = makeView(() => choose(name));
      Object.assign(view.node, { tabIndex: 0, title: `Make it large: ${title(name)} (C)` });
      view.node.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(name); });
      return view;
    });
    fill(strip, thumbs.map((view) => view.node));
    strip.hidden = !thumbs.length;
    views().forEach((view, index) => {
      if (!names[index]) return;
      view.name = names[index];
      fill(view.caption, title(view.name));
      view.image.alt = title(view.name);
    });
    source?.(views());
  }

  // list: [{name, title}]; feed(views) gives each view its pictures.
  function show(list, feed) {
    const same = list.map((camera) => camera.name).join() === cameras.map((camera) => camera.name).join();
    cameras = list;
    source = feed;
    if (!cameras.some((camera) => camera.name === chosen)) chosen = cameras[0]?.name || "";
    if (same && thumbs.length === Math.max(0, cameras.length - 1)) feed(views());
    else arrange();
  }

  function nothing(...message) {
    cameras = [];
    chosen = "";
    thumbs = [];
    fill(strip);
    strip.hidden = true;
    large.image.removeAttribute("src");
    large.image.hidden = true;
    fill(large.caption);
    large.veil.hidden = false;
    fill(large.veil, message);
  }

  return {
    element, show, nothing, views,
    next: () => { if (cameras.length > 1) choose(order()[1]); },
  };
}

// Live: streams while the page is seen, the last picture with its age when the robot or camera is lost.
export function liveFeed(cameras) {
  const address = (name, px) => `/drive/camera/${encodeURIComponent(name)}.mjpg?px=${px}`;

  function start(view, px) {
    const wanted = address(view.name, px);
    if (view.image.dataset.src === wanted) return;
    view.image.dataset.src = wanted;
    view.image.hidden = false;
    view.image.src = wanted;
    view.image.onerror = () => {
      if (view.image.dataset.src !== wanted) return;
      view.image.hidden = true;
      setTimeout(() => { if (view.image.dataset.src === wanted) { delete view.image.dataset.src; feed(cameras.views()); } }, RETRY_MS);
    };
    view.image.onload = () => { view.image.hidden = false; };
  }

  const halt = (view) => {
    delete view.image.dataset.src;
    view.image.removeAttribute("src");
  };

  function feed(views) {
    views.forEach((view, index) => {
      if (!view.name) return;
      if (document.hidden) halt(view);
      else start(view, !index && innerWidth >= WIDE ? 480 : 400); // what the simulator draws quickest
    });
    age();
  }

  function age() {
    for (const view of cameras.views()) {
      const { age_s = 0, lost = "" } = live.cameras[view.name] || {};
      const gone = lost || !live.connected;
      view.node.classList.toggle("lost", Boolean(gone));
      view.veil.hidden = !gone;
      if (gone) fill(view.veil, h("b", {}, live.connected ? "No new pictures" : "The line to the studio is cut"), h("span", {}, lost || live.problem), age_s >= OLD_S && h("span", {}, `This one is ${age_s.toFixed(1)} s old`));
      else view.node.dataset.age = age_s >= OLD_S ? `${age_s.toFixed(1)} s old` : "";
    }
  }

  document.addEventListener("visibilitychange", () => { if (live.state?.robot && cameras.views()[0].image.isConnected) feed(cameras.views()); });
  on("drive:cameras", age);
  on("drive:line", age);
  return { feed, halt: () => cameras.views().forEach(halt) };
}

// Recorded: the picture of one step, from each camera. The next one is shown only when it is there, so that nothing flashes.
export function stepFeed(run) {
  let step = 0;
  return {
    at: (next) => { step = next; },
    feed: (views) => {
      for (const view of views) {
        if (!view.name) continue;
        const wanted = frameAddress(run, step, view.name), here = step;
        view.wanted = wanted;
        delete view.image.dataset.src;
        loadPicture(wanted, () => view.wanted === wanted).then((found) => {
          if (view.wanted !== wanted) return;
          view.veil.hidden = found;
          if (!found) { fill(view.veil, "This picture cannot be read."); return; }
          Object.assign(view.image, { src: wanted, hidden: false });
          view.node.dataset.step = String(here);
        });
      }
    },
  };
}

export const frameAddress = (run, step, camera) => `/drive/runs/${encodeURIComponent(run)}/frame/${step}/${encodeURIComponent(camera)}.jpg`;

// True when the picture is there. The pictures of a run are written a little after the run: ask again for a while.
export async function loadPicture(address, wanted = () => true) {
  for (let attempt = 0; attempt < ATTEMPTS && wanted(); attempt++) {
    const picture = new Image(), found = new Promise((resolve) => { picture.onload = () => resolve(true); picture.onerror = () => resolve(false); });
    picture.src = address;
    if (await found) return true;
    await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
  }
  return false;
}
