// One machine: now, over hours and days, what happened to its alarms, how it is set.

import { at, get, now_s } from "./api.js";
import { h, clock, morph, number, shape, words, zoneWords } from "./dom.js";
import { history } from "./chart.js";
import { row } from "./overview.js";

const SPANS = [
    ["1h", "1 hour"],
    ["24h", "24 hours"],
    ["30d", "30 days"],
  ],
  EVERY_MS = 15000;
let name = "",
  span = "1h",
  looked_ms = -Infinity,
  told = null,
  parts = {},
  place_shown = -1,
  chart = null;

export function open(view, machine) {
  name = machine;
  looked_ms = -Infinity;
  told = null;
  chart = null;
  place_shown = -1;
  parts = {
    head: h("div"),
    alarms: h("div"),
    chart: h("div", { class: "chart" }),
    read: h("p", { class: "readout" }, "Point at the chart, or use the arrow keys."),
    changes: h("div"),
    set: h("div"),
    recorded: h("div"),
  };
  const choose = h(
    "div",
    { class: "choices", role: "group", "aria-label": "Time shown" },
    SPANS.map(([key, text]) =>
      h("button", { type: "button", "data-span": key, "aria-pressed": String(key === span) }, text),
    ),
  );
  choose.addEventListener("click", (click) => {
    const button = click.target.closest("[data-span]");
    if (!button) return;
    span = button.dataset.span;
    for (const one of choose.children) one.setAttribute("aria-pressed", String(one === button));
    looked_ms = -Infinity;
    look();
  });
  view.append(
    parts.head,
    parts.alarms,
    h("section", {}, h("div", { class: "row" }, h("h2", {}, "Scores"), choose), parts.chart, parts.read, legend()),
    h(
      "div",
      { class: "columns" },
      h("section", {}, h("h2", {}, "What happened"), parts.changes),
      h("section", {}, h("h2", {}, "Recorded events"), parts.recorded, h("h2", {}, "Settings"), parts.set),
    ),
  );
  addEventListener("resize", draw);
}

export function leave() {
  removeEventListener("resize", draw);
}

export function show(state, fresh) {
  const machine = state.machines.find((one) => one.name === name);
  morph(
    parts.head,
    h(
      "div",
      {},
      h(
        "h1",
        { class: "headed" },
        shape(machine ? machine.look : "unknown"),
        name,
        machine ? h("span", { class: "word" }, machine.word) : null,
      ),
      machine
        ? state.alarms.some((one) => one.machine === name)
          ? null
          : h("p", { class: "lead" }, machine.todo)
        : h("p", { class: "lead" }, "No such machine is listened to."),
    ),
  );
  morph(
    parts.alarms,
    h(
      "div",
      {},
      state.alarms.filter((one) => one.machine === name).map((one) => row(one, fresh)),
    ),
  );
}

export async function look() {
  if (performance.now() - looked_ms < EVERY_MS) return;
  looked_ms = performance.now();
  const asked = name;
  try {
    const [scores, one, changes] = await Promise.all([
      get(`${at("machines", name, "scores")}?span=${span}`),
      get(at("machines", name)),
      get(`/api/history?count=30&machine=${encodeURIComponent(name)}`),
    ]);
    if (asked !== name) return;
    told = scores;
    draw();
    morph(parts.changes, h("div", {}, changed(changes.history)));
    morph(parts.recorded, h("div", {}, recorded(one.events)));
    morph(parts.set, h("div", {}, settings(one.machine)));
  } catch (refusal) {
    parts.read.textContent = refusal.message;
  }
}

function draw() {
  if (!told) return;
  chart = history(told, now_s(), Math.round(parts.chart.clientWidth) || 600);
  const { picture } = chart;
  picture.addEventListener("pointermove", (move) =>
    read(chart.place_of(move.clientX - picture.getBoundingClientRect().left)),
  );
  picture.addEventListener("keydown", (key) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12 }[key.key];
    const to =
      key.key === "Home"
        ? 0
        : key.key === "End"
          ? chart.count - 1
          : step === undefined
            ? null
            : (place_shown < 0 ? chart.count - 1 : place_shown) + step;
    if (to === null) return;
    key.preventDefault();
    read(Math.min(chart.count - 1, Math.max(0, to)));
  });
  const focused = parts.chart.contains(document.activeElement);
  parts.chart.replaceChildren(picture);
  if (focused) picture.focus();
  if (!told.steps.scored.some(Boolean)) parts.read.textContent = "No window had a score in this time.";
}

function read(place) {
  place_shown = place;
  chart.cross(place);
  parts.read.textContent = chart.read(place);
}

function legend() {
  const one = (name, text) => h("li", {}, h("i", { class: `key ${name}` }), text);
  return h(
    "ul",
    { class: "legend" },
    one("score-key", "mean"),
    one("spread-key", "least to most"),
    one("over-key", "above the threshold"),
    one("alarm-key", "in alarm"),
    one("unfit-key", "unfit to be scored"),
    one("lost-key", "sound lost"),
    one("nobody-key", "nobody listened"),
  );
}

export function changed(entries) {
  if (!entries.length) return h("p", { class: "empty" }, "Nothing has happened to its alarms yet.");
  return h(
    "ol",
    { class: "changes" },
    entries.map((entry) =>
      h(
        "li",
        { "data-key": entry.number },
        h("time", { datetime: entry.time }, clock(entry.time, now_s(), true)),
        entry.clock ? h("small", {}, ` (clock ${entry.clock})`) : null,
        " ",
        h("b", {}, entry.kind === "anomaly" ? words(entry.cause) : `${words(entry.cause)}: not listening`),
        ` → ${words(entry.state)}`,
        entry.who === "auscult" ? null : h("span", { class: "who" }, ` by ${entry.who}`),
        entry.why || entry.reason ? h("small", {}, [entry.reason, entry.why].filter(Boolean).join(" · ")) : null,
      ),
    ),
  );
}

function recorded(events) {
  if (!events.length)
    return h(
      "p",
      { class: "empty" },
      "No event was recorded yet. Without `recorder:` in the site file no sound is kept.",
    );
  return h(
    "ul",
    { class: "plain" },
    events.map((one) =>
      h("li", {}, h("a", { href: `/events/${one.id}` }, clock(one.time, now_s(), true)), ` ${one.reason}`),
    ),
  );
}

function settings(one) {
  const rows = [
    ["Threshold", number(one.threshold, 5)],
    ["Warning", one.warning === null ? "none" : number(one.warning, 5)],
    ["It promises", one.promise],
    ["Bundle", one.bundle],
    ["Microphone", `${one.microphone}, ${one.source}`],
    ["Window", `${number(one.window_s, 4)} s every ${number(one.hop_s, 3)} s`],
    ["Times", zoneWords()],
  ];
  return h(
    "dl",
    { class: "settings" },
    rows.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))),
  );
}
