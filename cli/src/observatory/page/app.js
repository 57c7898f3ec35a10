// What is known, how it gets here, and who shows it.

import { Graph } from "./graph.js";
import { List } from "./list.js";
import { Drawer } from "./drawer.js";
import { count, h, rate, say, set, span } from "./words.js";

const SAMPLES = 120;
const at = (id) => document.getElementById(id);

/// Everything that is shown follows from this.
const world = { rows: new Map(), every: 500, search: "", selected: "", sort: "name" };
const words = new URLSearchParams(location.hash.slice(1));
[world.search, world.selected, world.sort] = ["q", "sel", "sort"].map((key, i) => words.get(key) ?? ["", "", "name"][i]);

const select = (id) => (change({ selected: id === world.selected ? "" : id }), drawer.show());
const change = (to) => {
  Object.assign(world, to);
  const kept = Object.entries({ q: world.search, sel: world.selected, sort: world.sort === "name" ? "" : world.sort });
  history.replaceState(null, "", "#" + new URLSearchParams(kept.filter(([, value]) => value)));
  draw();
};
const graph = new Graph(at("stage"), world, select);
const list = new List(at("list"), world, select, change);
const drawer = new Drawer(at("drawer"), world, select);

function take(rows) {
  for (const row of rows) {
    const id = `${row.kind}/${row.name}`;
    const old = world.rows.get(id);
    row.id = id;
    row.samples ??= old?.samples ?? [];
    row.resumed = old?.resumed;
    // Somebody went, and it goes on: with the same mail, where it was.
    if (old?.receiver_attaches && row.receiver_attaches > old.receiver_attaches && row.receiver_alive) row.resumed = performance.now();
    world.rows.set(id, row);
  }
}

function arrived(event, text) {
  const news = JSON.parse(text);
  if (event === "scene") {
    world.every = news.every_ms;
    say(at("post"), news.post);
    say(at("queues"), news.queues);
    const there = new Set(news.rows.map((row) => `${row.kind}/${row.name}`));
    for (const id of world.rows.keys()) if (!there.has(id)) world.rows.delete(id);
    take(news.rows);
  } else {
    news.gone.forEach((id) => world.rows.delete(id));
    take(news.rows);
    for (const row of world.rows.values()) {
      row.samples.push([row.sent_rate, row.received_rate, row.waiting ?? 0]);
      if (row.samples.length > SAMPLES) row.samples.shift();
    }
  }
  set(at("problems"), { hidden: !news.problems.length });
  say(at("problems"), news.problems.join(" "));
  heard = performance.now();
  tell("live", "live");
  draw();
}

/// Rows that the search leaves.
world.matching = () => {
  const wanted = world.search.trim().toLowerCase();
  const rows = [...world.rows.values()];
  if (!wanted) return rows;
  const has = (text) => text?.toLowerCase().includes(wanted);
  return rows.filter((row) => has(row.name) || row.flows.some((flow) => has(flow.from)));
};

let asked = false;
/// Once for each frame, and not at all where nobody sees it.
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const rows = world.matching();
    const is_empty = world.rows.size === 0 && heard !== undefined;
    document.body.classList.toggle("is-empty", is_empty);
    set(at("empty"), { hidden: !is_empty });
    totals();
    graph.draw(rows);
    list.draw(rows);
    drawer.draw();
  });
}

function totals() {
  const rows = [...world.rows.values()].filter((row) => row.presence === "here");
  const mailboxes = rows.filter((row) => row.kind === "mailbox");
  const sum = (of) => rows.reduce((total, row) => total + (of(row) || 0), 0);
  const trouble = [...world.rows.values()].filter((row) => row.presence === "unreadable" || row.poisoned).length;
  const all = [
    ["awake", `${count(mailboxes.filter((row) => row.receiver_alive).length)} of ${count(mailboxes.length)}`],
    ["messages/s", rate(sum((row) => row.sent_rate))],
    ["waiting", count(sum((row) => row.waiting))],
    ["queues", count(rows.length - mailboxes.length)],
    ["in trouble", count(trouble)],
  ].filter(([name], i) => i < 4 || trouble);
  at("totals").replaceChildren(...all.map(([name, value]) => h("div", { class: name === "in trouble" && "bad" }, h("dt", null, name), h("dd", null, value))));
}

let heard;
let source;
function tell(state, text) {
  set(at("link"), { "data-state": state });
  say(at("link"), text);
  document.body.classList.toggle("is-stale", state !== "live");
}

/// The browser tries again by itself unless it was refused; then we do.
function connect() {
  source?.close();
  source = new EventSource("/events");
  for (const event of ["scene", "look"]) source.addEventListener(event, ({ data }) => arrived(event, data));
  source.onerror = () => {
    tell("lost", heard === undefined ? "no connection, trying" : "connection lost, trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

setInterval(() => {
  const silent = performance.now() - (heard ?? performance.now());
  if (silent > Math.max(4000, 6 * world.every)) tell("lost", `nothing heard for ${span(silent)}`);
}, 1000);

at("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const is_dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = is_dark ? "light" : "dark";
  try {
    localStorage.setItem("laneway-theme", root.dataset.theme);
  } catch {
    // It holds until the page is closed.
  }
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && world.selected) select(world.selected);
  if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    at("search").focus();
  }
});

connect();
drawer.show();
