// Agents in two columns that bulge outwards, so that every name can be read; the mail between them runs through the middle. Who has
// a seat keeps it while others come and go.

import { count, rate, s, say, set, state } from "./words.js";
import { Tracks } from "./tracks.js";

/// More than that nobody can read; the list has them all.
const MOST = 72;
/// How long it is said that an agent has come back, milliseconds.
const RESUMED = 8000;
/// How long a way is lit after a message, milliseconds.
const GLOWS = 1500;
const UNNAMED = "";

export class Graph {
  constructor(stage, world, select) {
    Object.assign(this, { stage, world, select, seats: new Map(), nodes: new Map(), edges: new Map() });
    this.svg = stage.querySelector("#graph");
    this.many = stage.querySelector("#too-many");
    this.tracks = new Tracks(stage.querySelector("#tracks"), world, select);
    this.layers = ["edges", "dots", "nodes"].map((name) => this.svg.appendChild(s("g", { class: name })));
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    new ResizeObserver(() => this.draw(this.world.matching())).observe(this.svg);
    requestAnimationFrame((now) => this.move(now));
  }

  /// Who there is, and who sends to whom: mailboxes have names, and so have the senders of their mail.
  static scene(rows) {
    const [agents, flows] = [new Map(), []];
    for (const row of rows) if (row.kind === "mailbox") agents.set(row.name, { name: row.name, row, sends: 0, alive: false });
    for (const row of rows) {
      if (row.kind !== "mailbox") continue;
      for (const flow of row.flows) {
        const from = flow.from ?? UNNAMED;
        if (!agents.has(from)) agents.set(from, { name: from, row: null, sends: 0, alive: false });
        const agent = agents.get(from);
        agent.sends += flow.rate;
        agent.alive ||= flow.senders > 0 || flow.rate > 0;
        flows.push({ ...flow, id: `${from}\n${row.name}`, from, to: row.name });
      }
    }
    return { agents, flows };
  }

  draw(rows) {
    const { agents, flows } = Graph.scene(rows);
    const too_many = agents.size > MOST;
    set(this.many, { hidden: !too_many });
    if (too_many) say(this.many, `${count(agents.size)} agents are too many to draw. The list has them all; a search that leaves ${MOST} of them draws those.`);
    this.stage.classList.toggle("has-no-agents", agents.size === 0);
    this.tracks.draw(rows.filter((row) => row.kind === "queue"), agents.size === 0);
    if (too_many) (agents.clear(), (flows.length = 0));
    this.seat(agents);
    const box = this.svg.getBoundingClientRect();
    if (box.width < 50 || box.height < 50) return;
    this.place(agents, box);
    this.keep(this.edges, flows, (flow) => this.edge(flow));
    this.keep(this.nodes, [...agents.values()].map((agent) => ({ id: agent.name, ...agent })), (agent) => this.node(agent));
  }

  keep(known, wanted, draw) {
    const ids = new Set(wanted.map(({ id }) => id));
    for (const [id, drawn] of known) if (!ids.has(id)) (drawn.all.forEach((element) => element.remove()), known.delete(id));
    wanted.forEach(draw);
  }

  // Seats: a side and a height from 0 to 1. A newcomer gets the middle of the widest gap.
  seat(agents) {
    for (const name of this.seats.keys()) if (!agents.has(name)) this.seats.delete(name);
    const fresh = this.seats.size === 0;
    const sorted = [...agents.values()].filter(({ name }) => !this.seats.has(name));
    sorted.sort((a, b) => !!a.row - !!b.row || (a.name < b.name ? -1 : 1));
    const on = (side) => [...this.seats.values()].filter((seat) => seat.side === side);
    for (const { name, row } of sorted) {
      const [left, right] = [on(0), on(1)];
      const side = row ? (left.length < right.length ? 0 : 1) : left.length > right.length + 3 ? 1 : 0;
      this.seats.set(name, { side, y: widest([left, right][side]) });
    }
    const height = this.svg.clientHeight || 600;
    for (const seats of [on(0), on(1)]) {
      // The first ones stand in the order of their names.
      if (!fresh) seats.sort((a, b) => a.y - b.y);
      const is_tight = seats.some((seat, i) => i && (seat.y - seats[i - 1].y) * height < Math.min(12, (0.8 * height) / seats.length));
      if (fresh || is_tight) seats.forEach((seat, i) => (seat.y = (i + 0.5) / seats.length));
    }
  }

  place(agents, { width, height }) {
    const n = agents.size;
    this.size = n <= 14 ? { r: 17, font: 14, two: true } : n <= 32 ? { r: 9, font: 12.5, two: true } : { r: 5, font: 11, two: false };
    const room = n > 32 ? 110 : Math.min(width * 0.29, n > 14 ? 140 : 160);
    this.narrow = width < 480;
    set(this.svg, { viewBox: `0 0 ${width} ${height}`, class: this.size.two ? "" : "is-dense" });
    this.center = { x: width / 2, y: height / 2 };
    for (const name of agents.keys()) {
      const seat = this.seats.get(name);
      const [v, sign] = [2 * seat.y - 1, seat.side ? 1 : -1];
      const bulge = 0.72 + 0.28 * Math.sqrt(Math.max(0, 1 - v * v * 0.9));
      const dense = n > 32 ? 14 : 40;
      Object.assign(seat, { sign, x: width / 2 + sign * (width / 2 - room) * bulge, at: dense + (height - 2 * dense) * seat.y });
    }
  }

  edge(flow) {
    const [a, b] = [this.seats.get(flow.from), this.seats.get(flow.to)];
    let drawn = this.edges.get(flow.id);
    if (!drawn) {
      const [line, arrow, title] = [s("path", { class: "line" }), s("path", { class: "arrow" }), s("title")];
      const group = s("g", { class: "edge" }, title, line, arrow);
      this.layers[0].append(group);
      drawn = { all: [group], group, line, arrow, title, dots: [] };
      this.edges.set(flow.id, drawn);
    }
    const curve = (drawn.curve = bend(a, b, this.center, this.size.r));
    // A way stays lit for a moment, so that what goes through it now and then is seen, and arrives.
    const now = performance.now();
    drawn.rate = flow.rate >= (drawn.rate ?? 0) ? flow.rate : 0.7 * drawn.rate + 0.3 * flow.rate;
    if (flow.rate > 0) drawn.last = now;
    const lit = now - drawn.last < GLOWS;
    const strength = lit ? Math.min(1, Math.log10(1 + drawn.rate) / 3) : 0;
    const [, c1, c2, end] = curve;
    set(drawn.line, { d: `M${xy(curve[0])}C${xy(c1)} ${xy(c2)} ${xy(end)}` });
    const angle = (Math.atan2(end.y - c2.y, end.x - c2.x) * 180) / Math.PI;
    set(drawn.arrow, { d: "M0 0L-8 -3.5L-8 3.5Z", transform: `translate(${xy(end)}) rotate(${angle.toFixed(1)})` });
    drawn.group.style.setProperty("--strength", strength.toFixed(2));
    const chosen = this.world.selected.replace(/^[a-z]+\//, "");
    const aside = this.world.selected && !this.world.selected.startsWith("queue/") && chosen !== flow.from && chosen !== flow.to;
    set(drawn.group, { class: `edge${lit ? " is-lit" : ""}${aside ? " is-aside" : ""}`, "data-from": flow.from, "data-to": flow.to });
    say(drawn.title, `${flow.from || "unnamed"} to ${flow.to}: ${rate(flow.rate)} a second, ${count(flow.sent)} so far`);
    const wanted = lit && !aside && !this.still.matches ? Math.min(5, 1 + Math.round(strength * 5)) : 0;
    while (drawn.dots.length < wanted) {
      const dot = this.layers[1].appendChild(s("circle", { r: this.size.two ? 3.2 : 2.2, class: "dot" }));
      drawn.dots.push(dot);
      drawn.all.push(dot);
    }
    while (drawn.dots.length > wanted) drawn.all.splice(drawn.all.indexOf(drawn.dots[0]), 1), drawn.dots.shift().remove();
  }

  node(agent) {
    const seat = this.seats.get(agent.name);
    const id = agent.row ? agent.row.id : `agent/${agent.name}`;
    let drawn = this.nodes.get(agent.id);
    if (!drawn) {
      const [disc, inside, name, more, title] = [s("circle"), s("text", { class: "inside" }), s("text", { class: "name" }), s("text", { class: "more" }), s("title")];
      const open = () => this.select(drawn.opens);
      const group = s("g", { class: "node", tabindex: 0, role: "button", onclick: open }, title, disc, inside, name, more);
      group.addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), open()));
      this.layers[2].append(group);
      drawn = { all: [group], group, disc, inside, name, more, title };
      this.nodes.set(agent.id, drawn);
    }
    drawn.opens = id;
    const { r, font, two } = this.size;
    const row = agent.row;
    const word = row ? state(row) : agent.alive ? "sends" : "sent";
    const resumed = row?.receiver_alive && row.resumed && performance.now() - row.resumed < RESUMED;
    const waiting = row?.waiting ? `${count(row.waiting)} waiting` : "";
    const about = resumed ? `resumed, session ${row.receiver_attaches}` : { sends: "sends only", sent: "was here" }[word] ?? (word === "awake" ? waiting || "awake" : (this.narrow && waiting) || [word, waiting].filter(Boolean).join(", "));
    const high = row?.pressure === "high" ? " is-high" : "";
    set(drawn.group, {
      class: `node is-${word}${high}${resumed ? " is-resumed" : ""}${this.world.selected === id ? " is-selected" : ""}`,
      transform: `translate(${seat.x.toFixed(1)} ${seat.at.toFixed(1)})`,
      "aria-label": `${agent.name || "unnamed senders"}: ${about}`,
      "data-name": agent.name,
    });
    set(drawn.disc, { r });
    const [x, anchor] = [seat.sign * (r + (two ? 12 : 8)), seat.sign > 0 ? "start" : "end"];
    set(drawn.name, { x, y: two ? -1 : 4, "text-anchor": anchor, "font-size": font });
    set(drawn.more, { x, y: font + 2, "text-anchor": anchor, "font-size": font - 2 });
    const most = this.size.r > 10 ? 22 : 20;
    const label = agent.name || "unnamed";
    say(drawn.name, label.length > most ? label.slice(0, most - 1) + "…" : label);
    say(drawn.more, two ? about : "");
    set(drawn.inside, { y: 4.5, "text-anchor": "middle" });
    say(drawn.inside, r > 10 && row?.waiting ? (row.waiting > 999 ? "1k+" : String(row.waiting)) : "");
    say(drawn.title, `${agent.name || "unnamed senders"}: ${about}`);
  }

  /// Dots travel at the same pace on every way; more of them where there is more mail.
  move(now) {
    for (const { dots, curve } of this.edges.values()) {
      dots.forEach((dot, i) => {
        const p = point(curve, (now / 1800 + i / dots.length) % 1);
        dot.setAttribute("cx", p.x.toFixed(1));
        dot.setAttribute("cy", p.y.toFixed(1));
      });
    }
    this.tracks.move(now);
    requestAnimationFrame((then) => this.move(then));
  }
}

const xy = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;

/// The middle of the widest gap; the one to an end counts double, since there is nobody beyond it.
function widest(seats) {
  const taken = seats.map((seat) => seat.y).sort((a, b) => a - b);
  if (!taken.length) return 0.5;
  const gaps = taken.slice(1).map((y, i) => [(y - taken[i]) / 2, (y + taken[i]) / 2]);
  gaps.push([(2 * taken[0]) / 3, taken[0] / 3], [(2 * (1 - taken.at(-1))) / 3, 1 - (1 - taken.at(-1)) / 3]);
  return gaps.reduce((best, gap) => (gap[0] > best[0] + 1e-9 ? gap : best))[1];
}

/// From rim to rim, bent towards the middle; there and back do not lie on each other.
function bend(a, b, center, r) {
  const [from, to] = [{ x: a.x, y: a.at }, { x: b.x, y: b.at }];
  const inward = (p, sign) => ({ x: p.x - sign * 90, y: p.y });
  if (a === b) {
    const tip = inward(from, a.sign);
    return [{ x: from.x, y: from.y - r }, { x: tip.x, y: tip.y - 46 }, { x: tip.x, y: tip.y + 46 }, { x: from.x - a.sign * 2, y: from.y + r + 2 }];
  }
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const [nx, ny] = [-(to.y - from.y) / length, (to.x - from.x) / length];
  // Within a column, who is further away is reached by a wider bow.
  const [pull, off] = a.side === b.side ? [0.2 + 0.75 * Math.abs(a.y - b.y), 5] : [0.42, 14];
  const control = (p) => ({ x: p.x + (center.x - p.x) * pull * 1.3 + nx * off, y: p.y + (center.y - p.y) * pull * 0.55 + ny * off });
  const [c1, c2] = [control(from), control(to)];
  const rim = (p, towards, gap) => {
    const d = Math.hypot(towards.x - p.x, towards.y - p.y) || 1;
    return { x: p.x + ((towards.x - p.x) * gap) / d, y: p.y + ((towards.y - p.y) * gap) / d };
  };
  return [rim(from, c1, r + 2), c1, c2, rim(to, c2, r + 4)];
}

function point([a, b, c, d], t) {
  const u = 1 - t;
  const mix = (k) => u * u * u * a[k] + 3 * u * u * t * b[k] + 3 * u * t * t * c[k] + t * t * t * d[k];
  return { x: mix("x"), y: mix("y") };
}
