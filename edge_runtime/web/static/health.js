// What all of it rests on, and what to send to somebody who helps.

import { get, now_s, post } from "./api.js";
import { attempt, say } from "./actions.js";
import { ago, bytes, clock, h, lasts, many, morph, number, words } from "./dom.js";

const EVERY_MS = 5000;
let place = null,
  looked_ms = -Infinity;

export function open(view) {
  looked_ms = -Infinity;
  place = h("div", {}, h("p", { class: "empty" }, "Looking …"));
  const button = h("button", { type: "button", class: "first" }, "Make a support dump");
  button.addEventListener("click", dump);
  view.append(
    h("h1", {}, "Health"),
    place,
    h(
      "section",
      {},
      h("h2", {}, "To get help"),
      h(
        "p",
        { class: "lead" },
        "A ZIP with the site file without its secrets, the journal's last lines, scores and versions. It holds no sound, no token and no password; look through it before you send it.",
      ),
      button,
    ),
  );
}

export function show() {}

async function dump() {
  const response = await attempt(() => post("/api/support"));
  if (!response) return;
  const address = URL.createObjectURL(await response.blob());
  const name = (response.headers.get("content-disposition") || "").match(/filename="([^"]+)"/);
  const link = h("a", { href: address, download: name ? name[1] : "support.zip" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  say("the dump is in your downloads");
}

export async function look() {
  if (performance.now() - looked_ms < EVERY_MS) return;
  looked_ms = performance.now();
  try {
    const told = await get("/api/health");
    morph(
      place,
      h(
        "div",
        {},
        h(
          "div",
          { class: "cards wide" },
          listener(told),
          clocks(told),
          disk(told.disk),
          network(told),
          ...told.microphones.map(microphone),
        ),
        notices(told.notices),
        versions(told),
      ),
    );
  } catch (refusal) {
    morph(place, h("div", {}, h("p", { class: "empty" }, refusal.message)));
  }
}

const box = (look, name, head, ...rest) =>
  h("article", { class: `card ${look}`, "data-key": name }, h("h2", {}, name), h("p", { class: "word" }, head), rest);
const facts = (rows) =>
  h(
    "dl",
    { class: "facts" },
    rows.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );

function listener({ listening }) {
  const head = {
    listening: "Listens",
    gone: "Gone",
    hangs: "Hangs",
    starting: "Is starting",
    waiting: "Never began",
    unreadable: "Not known",
  }[listening.state];
  return box(
    listening.fresh ? "normal" : "unknown",
    "Listener",
    head,
    listening.fresh ? null : h("p", { class: "note" }, listening.words),
    listening.last
      ? facts([
          ["Last sign of life", ago(listening.last, now_s())],
          ["Since", clock(listening.started, now_s())],
          listening.pid ? ["Process", listening.pid] : null,
        ])
      : null,
  );
}

function clocks({ listening, clock_follows }) {
  const wrong = listening && listening.clock;
  const head = wrong
    ? listening.clock === "unset"
      ? "Not set"
      : words(listening.clock)
    : clock_follows === false
      ? "Nobody keeps it right"
      : "Well";
  const why = wrong
    ? "Times of alarms are wrong. No decision rests on them."
    : clock_follows === false
      ? "Let it follow a time server: timedatectl set-ntp true"
      : null;
  return box(
    wrong ? "warning" : clock_follows === false ? "attention" : "normal",
    "Clock",
    head,
    why ? h("p", { class: "note" }, why) : null,
    facts([["There it is now", clock(now_s(), now_s(), true)]]),
  );
}

function disk(found) {
  if (!found)
    return box("unknown", "Disk", "Not known", h("p", { class: "note" }, "The state folder is not there yet."));
  const tight =
    (found.keep_free_bytes !== null && found.free_bytes < found.keep_free_bytes) ||
    found.free_bytes < 0.03 * found.total_bytes;
  return box(
    tight ? "warning" : "normal",
    "Disk",
    tight ? "Nearly full" : `${bytes(found.free_bytes)} free`,
    tight ? h("p", { class: "note" }, "Nothing more is recorded below the limit; scoring goes on.") : null,
    facts([
      ["Free", `${bytes(found.free_bytes)} of ${bytes(found.total_bytes)}`],
      ["Journal", bytes(found.journal_bytes)],
      [
        many(found.events, "event"),
        `${bytes(found.events_bytes)}${found.budget_bytes === null ? "" : ` of ${bytes(found.budget_bytes)}`}`,
      ],
    ]),
  );
}

function network({ backend, latency, listening }) {
  if (!latency) return box("unknown", "Network", "Not known");
  const upto = (s) => (s === null ? "more than 2.5 s" : `${number(s * 1000)} ms`);
  return box(
    listening.fresh ? "normal" : "unknown",
    "Network",
    backend || "not known",
    facts([
      ["Half of all windows", `in ${upto(latency.half_s)}`],
      ["99 of 100", `in ${upto(latency.most_s)}`],
      ["Mean", latency.mean_s === null ? "none yet" : `${number(latency.mean_s * 1000)} ms`],
      ["Windows", latency.windows],
    ]),
  );
}

function microphone(one) {
  return box(
    one.listening ? "normal" : "deaf",
    `Microphone ${one.name}`,
    one.listening ? "Heard" : "Not heard",
    one.reason ? h("p", { class: "note" }, one.reason) : null,
    facts([
      ["Device", one.device],
      ["Sound lost", one.lost_s ? lasts(one.lost_s) : "none"],
      [
        "Its clock",
        one.drift_ppm === null
          ? "drift not known yet"
          : `${Math.abs(one.drift_ppm).toFixed(0)} ppm ${one.drift_ppm < 0 ? "slow" : "fast"}`,
      ],
    ]),
  );
}

function notices(found) {
  return h(
    "section",
    {},
    h("h2", {}, "Notices"),
    found.length
      ? h(
          "ol",
          { class: "changes" },
          found.map((one) =>
            h(
              "li",
              { "data-key": one.number },
              h("time", { datetime: one.time }, clock(one.time, now_s(), true)),
              " ",
              h("b", {}, one.about),
              ` ${one.words}`,
            ),
          ),
        )
      : h("p", { class: "empty" }, "Nothing had to be said yet."),
  );
}

function versions({ versions: found, listener_version }) {
  const rows = [
    ["auscult, this page", found.auscult],
    listener_version ? ["auscult, the listener", listener_version] : null,
    ["Python", found.python],
    ["System", found.system],
    ["Computer", found.computer],
  ];
  return h(
    "section",
    {},
    h("h2", {}, "Versions"),
    h(
      "dl",
      { class: "settings" },
      rows.filter(Boolean).map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))),
    ),
  );
}
