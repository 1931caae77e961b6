// Starts the Drive page: puts the parts in place and leads between the live robot and the runs so far.
import { fill, h, notice } from "./dom.js";
import { makeAsk } from "./drive_ask.js";
import { liveFeed, makeCameras } from "./drive_cameras.js";
import { underWay } from "./drive_choice.js";
import { makeGauges } from "./drive_gauges.js";
import { startDriveKeys } from "./drive_keys.js";
import { get, live, startLive } from "./drive_live.js";
import { makeRunPath } from "./drive_path.js";
import { makeBar, makeChecks, makeRobots } from "./drive_robot.js";
import { framesOf, makeRuns } from "./drive_runs.js";
import { makeSetup } from "./drive_setup.js";
import { mountHeader } from "./header.js";
import { emit, on } from "./store.js";
import { makeTrace } from "./trace.js";

const VIEWS = { live: ["Live", "L"], runs: ["Runs", "H"] };

function mountDrive(root) {
  const bar = makeBar(VIEWS), livePart = makeLive(), runs = makeRuns();
  fill(root, bar.element, livePart.element, runs.element);

  function show(view) {
    livePart.element.hidden = view !== "live";
    runs.element.hidden = view !== "runs";
    bar.mark(view);
    livePart.seen(view === "live");
    if (view === "live") { runs.hidden(); history.replaceState(history.state, "", "/drive"); }
  }

  on("drive:view", (view) => { show(view); if (view === "runs") runs.load(); });
  on("drive:replay", (id) => { show("runs"); runs.open(id).then(runs.load); });
  const query = new URLSearchParams(location.search);
  if (query.get("a") && query.get("b")) { show("runs"); runs.compare(query.get("a"), query.get("b")).then(runs.load); }
  else if (query.get("run")) { show("runs"); runs.open(query.get("run"), query.has("step") ? Number(query.get("step")) : null).then(runs.load); }
  else show("live");
}

function makeLive() {
  const cameras = makeCameras(), feed = liveFeed(cameras), gauges = makeGauges(), setup = makeSetup(), ask = makeAsk(), robots = makeRobots(), checks = makeChecks();
  const path = makeRunPath(() => (live.run ? [{ run: live.run }] : []));
  const instead = h("div", { class: "vs-trace-instead" });
  const trace = makeTrace({ frames: (step) => framesOf(live.run?.id || "", live.state?.robot?.cameras || [])(step), empty: instead });
  const look = h("div", { class: "vs-look" }, cameras.element, h("div", { class: "vs-measures" }, path.element, gauges.element));
  const element = h("section", { class: "vs-live" }, look, h("div", { class: "vs-work" }, setup.element, trace.element, ask.element));
  let seen = true, loading = true;

  function drawState() {
    loading = loading && !live.state;
    const robot = live.state?.robot;
    if (!robot) cameras.nothing(live.state?.opening ? `${live.state.opening.message}…` : loading ? "" : "The cameras of the robot appear here.");
    else if (seen) cameras.show(robot.cameras, feed.feed);
    if (robot) checks.draw();
    else robots.draw();
    fill(instead, robot ? checks.element : live.state ? robots.element : h("div", { class: "vs-choose" }, h("div", { class: "vs-busy" }, h("i", {}), live.problem || "Looking for the robot…")));
    drawRun();
  }

  // With checks to settle and nothing under way, they stand in place of the last trace.
  function drawRun() {
    const { checks: list = [] } = live.state || {}, blocked = !underWay() && list.some((check) => check.state === "bad" || check.state === "ask");
    trace.draw(live.state?.robot && live.run && !blocked ? live.run : null);
    path.draw();
    drawPose();
  }

  const drawPose = () => gauges.draw(live.state?.robot?.joints, live.telemetry?.pose, live.run?.truth);
  on("drive:state", drawState);
  on("drive:run", drawRun);
  on("drive:telemetry", drawPose);
  on("drive:line", drawState);
  on("drive:camera", cameras.next);
  drawState();
  return { element, seen: (now) => { seen = now; if (!seen) feed.halt(); else drawState(); } };
}


on("problem", (text) => notice(text, "bad"));
on("drive:note", ({ text, level }) => notice(text, level === "warning" ? "bad" : "info"));
on("drive:turn", (kind) => {
  if (kind === "run_ended") emit("drive:runs");
  else dispatchEvent(new Event("vs-began")); // an old STOP says nothing about a new run
});
document.body.classList.toggle("dark", document.documentElement.classList.contains("vs-dark"));
mountHeader(document.querySelector("#vs-header .vs-mount"), { hello: () => get("/drive/hello") });
mountDrive(document.getElementById("vs-drive"));
startDriveKeys();
startLive();
