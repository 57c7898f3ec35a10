// A closer look at one mailbox, queue or sender: asked for anew after each look, while it is open.

import { bytes, count, h, hex, nanos, rate, s, say, set, spark, span, state, visible } from "./words.js";

export class Drawer {
  constructor(box, world, select) {
    Object.assign(this, { box, world, select, opener: null, shown: "", asking: false });
    this.close = h("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => select(world.selected) }, "×");
    this.title = h("h2");
    this.word = h("p", { class: "word" });
    this.parts = h("div", { class: "parts" });
    box.append(h("div", { class: "head" }, h("div", null, this.title, this.word), this.close), this.parts);
  }

  /// After a choice: it opens, closes, or turns to another row.
  show() {
    const id = this.world.selected;
    if (id && !this.shown) this.opener = document.activeElement;
    const was = this.shown;
    this.shown = id;
    this.detail = null;
    this.drawn = "";
    set(this.box, { hidden: !id });
    document.body.classList.toggle("has-drawer", !!id);
    if (id && !was) this.close.focus({ preventScroll: true });
    if (!id && was) this.opener?.focus?.({ preventScroll: true });
    if (id) this.draw();
  }

  draw() {
    const id = this.shown;
    if (!id) return;
    const name = id.slice(id.indexOf("/") + 1);
    const row = this.world.rows.get(id);
    say(this.title, name || "unnamed senders");
    const word = row ? state(row) : id.startsWith("agent/") ? "sends only" : "gone";
    const sessions = row?.receiver_attaches > 1 ? `, session ${row.receiver_attaches}` : "";
    say(this.word, row ? `${row.kind}, ${row.kind === "queue" ? { awake: "with a receiver", asleep: "without a receiver" }[word] ?? word : word}${sessions}` : word);
    set(this.word, { class: `word is-${row ? word : "sends"}` });
    if (row?.presence === "here") this.ask(row);
    this.render(row, name);
  }

  /// One question at a time; what comes too late for the row is not shown.
  async ask(row) {
    if (this.asking) return;
    this.asking = true;
    try {
      const words = new URLSearchParams({ kind: row.kind, name: row.name });
      const answer = await fetch(`/detail?${words}`);
      const detail = answer.ok ? await answer.json() : { problem: await answer.text() };
      if (this.shown === row.id) {
        this.detail = detail;
        this.render(row, row.name);
      }
    } catch {
      // The connection is lost; the header says so.
    } finally {
      this.asking = false;
    }
  }

  render(row, name) {
    // What somebody reads or marks is not pulled away from under them.
    const marked = getSelection();
    if (!marked.isCollapsed && this.parts.contains(marked.anchorNode)) return;
    const key = JSON.stringify([row, this.detail]);
    if (key === this.drawn) return;
    this.drawn = key;
    const parts = [];
    const problem = row?.problem ?? this.detail?.problem;
    if (problem) parts.push(h("p", { class: "bad" }, problem));
    if (row?.presence === "here") parts.push(figures(row), history(row));
    parts.push(...this.flows(row, name));
    if (row && this.detail?.lanes) parts.push(...closer(this.detail, row));
    const top = this.parts.scrollTop;
    this.parts.replaceChildren(...parts);
    this.parts.scrollTop = top;
  }

  flows(row, name) {
    const link = (id, text) => h("button", { type: "button", class: "link", onclick: () => this.select(id) }, text);
    const of = (title, lines) => lines.length && section(title, h("table", null, lines.map(([who, flow]) => h("tr", null, h("td", null, who), h("td", { class: "n" }, `${rate(flow.rate)}/s`), h("td", { class: "n" }, `${count(flow.sent)} sent`)))));
    const other = (from) => (this.world.rows.has(`mailbox/${from}`) ? `mailbox/${from}` : `agent/${from ?? ""}`);
    const into = row?.kind === "mailbox" ? row.flows.map((flow) => [link(other(flow.from), flow.from ?? "unnamed"), flow]) : [];
    const out = [...this.world.rows.values()].flatMap((to) => (to.kind === "mailbox" && row?.kind !== "queue" ? to.flows.filter((flow) => (flow.from ?? "") === name).map((flow) => [link(to.id, to.name), flow]) : []));
    return [of("Who sends here", into), of("Sends to", out)].filter(Boolean);
  }
}

const section = (title, ...content) => h("section", null, h("h3", null, title), ...content);

function figures(row) {
  const mail = row.mail ?? {};
  const all = [
    ["waiting", count(row.waiting)],
    ["in/s", rate(row.sent_rate)],
    ["out/s", rate(row.received_rate)],
    ["oldest", nanos(row.oldest_ns)],
    row.mail && ["p50", nanos(row.delivery_p50_ns)],
    row.mail && ["p99", nanos(row.delivery_p99_ns)],
    ["pressure", row.pressure],
    ["memory", bytes(row.reserved_bytes)],
    row.mail && ["done", count(mail.processed)],
    mail.taken ? ["taken", count(mail.taken)] : null,
    mail.kept ? ["for later", count(mail.kept)] : null,
    mail.failed ? ["failed", count(mail.failed)] : null,
    mail.dead_lettered ? ["dead letters", count(mail.dead_lettered)] : null,
    mail.redelivered ? ["again after a death", count(mail.redelivered)] : null,
    row.dropped ? ["dropped", count(row.dropped)] : null,
    row.poisoned ? ["damaged lanes", count(row.poisoned)] : null,
  ];
  return h("dl", { class: "figures" }, all.filter(Boolean).map(([name, value]) => h("div", { class: value === "high" && "is-high" }, h("dt", null, name), h("dd", null, value))));
}

function history(row) {
  const [rates, depths] = [spark(row.samples.map(([n]) => n), 420, 64, 120), spark(row.samples.map(([, , n]) => n), 420, 64, 120)];
  const picture = s("svg", { viewBox: "0 0 420 64", class: "spark large", preserveAspectRatio: "none", role: "img", "aria-label": "Messages a second, and how many waited" });
  picture.append(s("path", { class: "area", d: rates.area }), s("path", { class: "curve", d: rates.line }), s("path", { class: "depth", d: depths.line }));
  const top = (i) => Math.max(0, ...row.samples.map((sample) => sample[i]));
  const key = h("p", { class: "key" }, h("i", { class: "curve" }), `messages/s, up to ${rate(top(0))}`, h("i", { class: "depth" }), `waiting, up to ${count(top(2))}`);
  return h("figure", null, picture, key);
}

function closer(detail, row) {
  const known = new Map(detail.outcomes.map((outcome) => [outcome.ticket, outcome.state]));
  const chip = (state) => h("span", { class: `chip is-${state}` }, state);
  const message = (m) =>
    h("li", null,
      h("p", { class: "about" }, m.from != null && h("bdi", null, m.from || "unnamed"), m.age_ms != null && h("span", null, `${span(m.age_ms)} ago`), row.kind === "mailbox" && chip(known.get(m.ticket) ?? "pending"), h("code", null, m.ticket)),
      h("pre", { dir: "auto" }, m.body.text != null ? visible(m.body.text) : hex(m.body.base64)),
      (m.body.text == null || m.bytes > 2048) && h("p", { class: "about" }, `${bytes(m.bytes)}${m.body.text == null ? ", not text" : ", of which this is the beginning"}`));
  const messages = detail.messages.length ? h("ul", { class: "messages" }, detail.messages.map(message)) : h("p", { class: "none" }, "None waits.");
  const outcome = (o) => h("tr", { title: o.reason }, h("td", null, h("code", null, o.ticket)), h("td", null, chip(o.state)), h("td", { class: "n" }, o.attempts ? `${o.attempts}×` : ""), h("td", { class: "n" }, o.since_ms == null ? "" : `${span(o.since_ms)} ago`));
  const lane = (l) => h("tr", { class: l.damage && "bad" }, h("td", null, `lane ${l.lane}`), h("td", null, l.damage ?? (l.sender_alive ? "attached" : l.closed ? "closed" : "gone")), h("td", { class: "n" }, `${count(l.sent)} sent`), h("td", { class: "n" }, `${count(l.depth_messages)} waiting`), h("td", { class: "n" }, bytes(l.reserved_bytes)));
  return [
    section("Messages that wait", messages, detail.more ? h("p", { class: "none" }, `and ${count(detail.more)} more`) : null),
    row.kind === "mailbox" && detail.outcomes.length && section("What became of messages", h("table", { class: "outcomes" }, detail.outcomes.map(outcome))),
    section("Lanes", h("table", null, detail.lanes.map(lane), detail.unreadable.map(([n, why]) => h("tr", { class: "bad" }, h("td", null, `lane ${n}`), h("td", { colspan: 4 }, why))))),
  ].filter(Boolean);
}
