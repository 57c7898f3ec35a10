// Everything as a table: to be searched and sorted, and where there is more than can be drawn.

import { bytes, count, h, nanos, rate, s, say, set, spark, state } from "./words.js";

/// Rows that are in the page at a time.
const MOST = 200;

const last = (row) => row.name.toLowerCase();
const COLUMNS = [
  { id: "name", title: "Name", of: last, text: (row) => row.name },
  { id: "traffic", title: "Traffic", of: (row) => row.samples.reduce((sum, [n]) => sum + n, 0) },
  { id: "in", title: "In/s", of: (row) => row.sent_rate, text: (row) => rate(row.sent_rate) },
  { id: "out", title: "Out/s", of: (row) => row.received_rate, text: (row) => rate(row.received_rate) },
  { id: "waiting", title: "Waiting", of: (row) => row.waiting ?? 0, text: (row) => count(row.waiting) },
  { id: "p50", title: "p50", of: (row) => row.delivery_p50_ns ?? 0, text: (row) => nanos(row.delivery_p50_ns) },
  { id: "p99", title: "p99", of: (row) => row.delivery_p99_ns ?? 0, text: (row) => nanos(row.delivery_p99_ns) },
  { id: "oldest", title: "Oldest", of: (row) => row.oldest_ns ?? 0, text: (row) => nanos(row.oldest_ns) },
  { id: "pressure", title: "Pressure", of: (row) => (row.pressure === "high" ? 1 : 0), text: (row) => row.pressure ?? "–" },
  { id: "memory", title: "Memory", of: (row) => row.reserved_bytes ?? 0, text: (row) => bytes(row.reserved_bytes) },
];

export class List {
  constructor(section, world, select, change) {
    Object.assign(this, { section, world, select, change, known: new Map() });
    this.body = section.querySelector("#rows");
    this.search = section.querySelector("#search");
    this.search.value = world.search;
    this.search.addEventListener("input", () => change({ search: this.search.value }));
    section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    this.headings = COLUMNS.map(({ id, title }) => {
      const button = h("button", { type: "button", onclick: () => this.sort(id) }, title);
      return h("th", { scope: "col", class: `c-${id}` }, button);
    });
    section.querySelector("#headings").append(...this.headings);
  }

  sort(id) {
    const same = this.world.sort.replace("-", "") === id;
    const first = id === "name" ? id : `-${id}`;
    this.change({ sort: same && this.world.sort === first ? (first === id ? `-${id}` : id) : first });
  }

  draw(rows) {
    const down = this.world.sort.startsWith("-");
    const column = COLUMNS.find(({ id }) => id === this.world.sort.replace("-", "")) ?? COLUMNS[0];
    this.headings.forEach((heading, i) => set(heading, { "aria-sort": COLUMNS[i] === column ? (down ? "descending" : "ascending") : null }));
    const keyed = rows.map((row) => [column.of(row), row]);
    const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    keyed.sort(([a, x], [b, y]) => (down ? order(b, a) : order(a, b)) || order(last(x), last(y)) || order(x.id, y.id));
    const shown = keyed.slice(0, MOST).map(([, row]) => row);
    const ids = new Set(shown.map((row) => row.id));
    for (const [id, line] of this.known) if (!ids.has(id)) (line.tr.remove(), this.known.delete(id));
    shown.forEach((row, i) => this.line(row, i));
    const found = this.world.search ? `${count(rows.length)} of ${count(this.world.rows.size)}` : `${count(rows.length)}`;
    say(this.section.querySelector("#found"), found);
    const rest = rows.length - shown.length;
    say(set(this.section.querySelector("#more"), { hidden: !rest }), `and ${count(rest)} more: search, or sort otherwise`);
  }

  line(row, i) {
    let line = this.known.get(row.id);
    if (!line) {
      const [button, tag] = [h("button", { type: "button", class: "open" }), h("span", { class: "tag" })];
      const [area, curve] = [s("path", { class: "area" }), s("path", { class: "curve" })];
      const picture = s("svg", { viewBox: "0 0 96 24", width: 96, height: 24, class: "spark", role: "img" }, area, curve);
      const cells = COLUMNS.map(({ id }) => h("td", { class: `c-${id}` }));
      cells[0].append(h("div", null, h("i", { class: "light" }), button, tag));
      cells[1].append(picture);
      const tr = h("tr", { onclick: () => this.select(row.id) }, cells);
      this.known.set(row.id, (line = { tr, button, tag, cells, picture, area, curve }));
    }
    if (this.body.children[i] !== line.tr) this.body.insertBefore(line.tr, this.body.children[i] ?? null);
    const word = state(row);
    set(line.tr, { class: `is-${word}${row.pressure === "high" ? " is-high" : ""}${this.world.selected === row.id ? " is-selected" : ""}`, "data-id": row.id });
    say(line.button, row.name);
    const spoken = row.kind === "queue" && word === "asleep" ? "no receiver" : word;
    set(line.button, { title: row.problem ?? `${row.kind} ${row.name}: ${spoken}`, "aria-label": `${row.kind} ${row.name}, ${spoken}` });
    const tag = row.presence !== "here" ? word : row.poisoned ? `${row.poisoned} damaged` : row.kind === "queue" ? "queue" : "";
    set(say(line.tag, tag), { class: row.presence === "unreadable" || row.poisoned ? "tag bad" : "tag" });
    const { line: path, area } = spark(row.samples.map(([sent]) => sent), 96, 24);
    set(line.curve, { d: path });
    set(line.area, { d: area });
    set(line.picture, { "aria-label": `${rate(row.sent_rate)} a second` });
    COLUMNS.forEach(({ id, text }, at) => at > 1 && say(line.cells[at], row.presence === "unreadable" ? "–" : text(row)));
  }
}
