// Reads the recording, starts the page, and gives each key and button its meaning.

import { App } from "./app.mjs";
import { byId, html, svg } from "./dom.mjs";

/** Keys, for the help and for what they do. */
const KEYS = [
  ["/", "search", () => byId("search").focus()],
  ["Enter", "open or close what is picked", (app) => app.picked && app.toggle(app.picked)],
  ["ArrowDown", "follow what flows out", (app) => app.step("down")],
  ["ArrowUp", "go back to what flows in", (app) => app.step("up")],
  ["ArrowRight", "next in the scope", (app) => app.step("right")],
  ["ArrowLeft", "previous in the scope", (app) => app.step("left")],
  ["u", "light what leads here", (app) => app.picked && app.panel.actions.path(app.picked, "up")],
  ["d", "light what follows from it", (app) => app.picked && app.panel.actions.path(app.picked, "down")],
  ["p", "light both", (app) => app.picked && app.panel.actions.path(app.picked, "both")],
  ["e", "open all", (app) => app.openAll()],
  ["c", "close all", (app) => app.closeAll()],
  ["f", "fit into the window", (app) => app.fit(true)],
  ["+", "nearer", (app) => app.camera.zoom(1.25)],
  ["-", "farther", (app) => app.camera.zoom(0.8)],
  ["b", "gradients", () => byId("backward").click()],
  ["l", "left to right, or down", () => byId("across").click()],
  ["x", "show all of what repeats, or fold it", (app) => app.picked && app.repeat(app.picked)],
  ["r", "repeats, folded or not", () => byId("fold").click()],
  ["s", "shapes", () => byId("shapes").click()],
  ["m", "map", (app) => toggleMap(app)],
  ["y", "memory over time, where it was recorded", (app) => app.timeline.toggle()],
  ["t", "light or dark", (app) => app.looks.switchTheme()],
  ["?", "this help", () => toggleHelp()],
  ["Escape", "let go", (app) => letGo(app)],
];

function toggleHelp(shown = byId("help").hidden) {
  byId("help").hidden = !shown;
}

function toggleMap(app) {
  byId("minimap").hidden = !byId("minimap").hidden;
  app.minimap.paint(app.scene);
}

function letGo(app) {
  if (app.work.leave) app.work.leave();
  else if (!byId("help").hidden) toggleHelp(false);
  else app.pick(null);
}

function listen(app) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, button")) {
      if (event.key !== "Escape") return;
    }
    const found = KEYS.find(([key]) => key === event.key || (key === "+" && event.key === "="));
    if (!found) return;
    event.preventDefault();
    found[2](app);
  });
  const canvas = byId("canvas");
  const targetOf = (event) => {
    const element = event.target.closest("[data-id], [data-key]");
    return element?.dataset ?? {};
  };
  canvas.addEventListener("click", (event) => {
    if (app.camera.wasDrag) return;
    const { id, key } = targetOf(event);
    const item = id === undefined ? null : app.model.items[id];
    if (key !== undefined) app.pickEdge(key);
    else if (event.shiftKey && item) app.between(item);
    else if (item && event.target.closest(".title")) app.toggle(item);
    else app.pick(item);
  });
  canvas.addEventListener("dblclick", (event) => {
    const { id } = targetOf(event);
    if (id !== undefined && !event.target.closest(".title")) app.toggle(app.model.items[id]);
  });
  canvas.addEventListener("pointerover", (event) => {
    const box = event.target.closest(".box");
    if (!box) return;
    box.querySelector("title")?.remove();
    box.prepend(svg("title", {}, app.tipOf(app.model.items[box.dataset.id])));
  });
  const press = (id, action) => byId(id).addEventListener("click", action);
  press("open-all", () => app.openAll());
  press("close-all", () => app.closeAll());
  press("fit", () => app.fit(true));
  press("theme", () => app.looks.switchTheme());
  press("memory-button", () => app.timeline.toggle());
  press("help-button", () => toggleHelp());
  press("help-close", () => toggleHelp(false));
  press("shapes", (event) => canvas.classList.toggle("shapes", event.target.checked));
  press("across", (event) => app.turn(event.target.checked));
  press("fold", (event) => app.setFolded(app.model.runs, event.target.checked));
  press("backward", (event) => {
    canvas.classList.toggle("backward", event.target.checked);
    app.looks.apply();
  });
  byId("save").addEventListener("change", (event) => {
    app.save(event.target.value).catch((error) => app.say(`not saved: ${error.message}`));
    event.target.value = "";
  });
  byId("colour").addEventListener("change", (event) => app.looks.colourBy(event.target.value));
}

function fill(app) {
  byId("title").textContent = app.title;
  byId("colour").append(...app.metrics.map(({ key, label }) => html("option", { value: key }, label)));
  byId("keys").append(...KEYS.map(([key, meaning]) =>
    html("div", {}, html("kbd", {}, key.replace("Arrow", "").replace("Escape", "Esc")), meaning)));
  byId("fold").parentElement.hidden = !app.model.runs.length;
  byId("memory-button").hidden = app.timeline.empty;
  byId("colour").parentElement.hidden = !app.metrics.length;
  byId("backward").parentElement.hidden = !app.drawing.backwardFlows.size;
  if (app.settings.backward && app.drawing.backwardFlows.size) byId("backward").click();
}

const read = (id) => JSON.parse(byId(id).textContent);
const viewer = new App(read("graph"), read("settings"), dagre);
listen(viewer);
fill(viewer);
viewer.start();
// For tests and curious readers: what the page works with, and how many milliseconds it took.
window.viewer = viewer;
document.documentElement.dataset.ready = String(Math.round(performance.now()));
