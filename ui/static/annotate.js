// Starts the Annotate tab when its three components are on the page.
import { startConflicts } from "./conflict.js";
import { notice } from "./dom.js";
import { startKeys } from "./keys.js";
import { resumeJob } from "./jobs.js";
import { keepLink, readLink } from "./link.js";
import { loadQueue, on, openEpisode, refresh, state } from "./store.js";

const REFRESH_MS = 240_000; // well within the ten minutes of a lease
let started = false;

export async function startAnnotate() {
  if (started) return;
  started = true;
  on("problem", (text) => notice(text, "bad"));
  on("busy", (working) => document.documentElement.classList.toggle("vs-working", working));
  addEventListener("beforeunload", (event) => {
    document.activeElement?.blur(); // a text that is being typed is saved too
    if (state.saving || state.conflict) event.preventDefault();
  });
  on("changed", (author) => notice(`${author} saved a newer revision; this is it.`));
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  setInterval(() => document.hidden || refresh(), REFRESH_MS);
  startKeys();
  startConflicts();
  const wanted = readLink();
  keepLink();
  const opened = wanted.episode ? openEpisode(wanted.episode, wanted) : null;
  resumeJob();
  await Promise.all([loadQueue(), opened]);
  if (!wanted.episode && state.queue.rows.length) openEpisode(state.queue.rows[0].id);
}
