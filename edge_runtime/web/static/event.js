// One event: the reason in words, its sound beside normal sound, its pictures, and what it was.

import { at, get, now_s, post } from "./api.js";
import { attempt, say } from "./actions.js";
import { bytes, clock, h, number, words } from "./dom.js";
import { Player } from "./player.js";
import { figure, scores } from "./figure.js";

const EVERY_MS = 5000;
let looked_ms = -Infinity;
let id = "",
  place = null,
  told = null,
  player = null,
  figures = [],
  parts = {};

export function open(view, event) {
  id = event;
  told = null;
  figures = [];
  player = null;
  place = h("div", {}, h("p", { class: "empty" }, "Looking …"));
  view.append(place);
  load();
  addEventListener("keydown", keyed);
}

export function leave() {
  removeEventListener("keydown", keyed);
  if (player) player.stop();
}

export function show() {}

// An event that goes on grows: its files are written again when it is over.
export async function look() {
  if (!told || told.event.state !== "open" || performance.now() - looked_ms < EVERY_MS) return;
  looked_ms = performance.now();
  const [asked, fresh] = [id, await get(at("events", id))];
  if (asked !== id || fresh.event.state === "open") return;
  if (player) player.stop();
  told = fresh;
  draw();
}

async function load() {
  const asked = id;
  try {
    told = await get(at("events", id));
  } catch (refusal) {
    place.replaceChildren(
      h("h1", {}, "No such event"),
      h("p", { class: "lead" }, refusal.message),
      h("p", {}, h("a", { href: "/events" }, "To all events")),
    );
    return;
  }
  if (asked === id) draw();
}

// What is written again has another address, so that no browser shows what it kept.
const address = (name) => `${at("events", id, name)}?${told.files[name].bytes}`;

function draw() {
  const { event, files } = told;
  player = files["sound.flac"]
    ? new Player(address("sound.flac"), files["normal.flac"] ? address("normal.flac") : null, event, moved)
    : null;
  figures = ["spectrogram.png", "deviation.png"]
    .filter((name) => files[name])
    .map((name) => figure(name, address(name), told, seek));
  if (told.windows.some((one) => one.score !== null)) figures.push(scores(told, seek));
  parts = { said: h("div"), mark: h("div") };
  place.replaceChildren(
    head(event),
    player ? player.node : silent(event),
    h(
      "section",
      {},
      h("h2", {}, "What was heard"),
      figures.length ? figures.map((one) => one.node) : h("p", { class: "empty" }, "This event has no picture."),
    ),
    h(
      "div",
      { class: "columns" },
      h("section", {}, h("h2", {}, "What was it?"), choice(), parts.said),
      h("section", {}, h("h2", {}, "About it"), parts.mark, about(event, files)),
    ),
  );
  said();
}

function head(event) {
  const ends =
    event.state === "open"
      ? "it goes on"
      : event.state === "cut"
        ? "the listening ended in the middle of it"
        : event.returned_s === null
          ? ""
          : `back to normal after ${Math.round(event.returned_s - event.alarm_s)} s`;
  return h(
    "div",
    {},
    h(
      "p",
      { class: "crumb" },
      h("a", { href: "/events" }, "Events"),
      " / ",
      h("a", { href: `/machines/${encodeURIComponent(event.machine)}` }, event.machine),
    ),
    h(
      "h1",
      {},
      `${event.machine}: ${event.level}, `,
      h("time", { datetime: event.time }, clock(event.time, now_s(), true)),
    ),
    h("p", { class: "lead" }, event.reason.words),
    h(
      "p",
      { class: "note" },
      [
        `score ${number(event.score)}, threshold ${number(event.threshold)}`,
        ends,
        event.clock ? `the clock was ${event.clock}` : "",
      ]
        .filter(Boolean)
        .join(" · "),
    ),
  );
}

function silent(event) {
  const why =
    event.privacy === "features-only"
      ? "There is no sound to play: the site file says privacy: features-only, so that nobody's voice is kept. The pictures and the reason are all there is."
      : "There is no sound to play: its file is not there (any more).";
  return h("p", { class: "empty", id: "silent" }, why);
}

function choice() {
  const why = h("input", { name: "why", maxlength: 500, placeholder: "bearing of the left motor" });
  const last = told.said.labels.at(-1);
  const form = h(
    "form",
    { class: "choice" },
    h(
      "fieldset",
      {},
      h("legend", { class: "hide" }, "What was it?"),
      Object.entries(told.meanings).map(([what, meaning]) =>
        h(
          "label",
          {},
          h("input", { type: "radio", name: "what", value: what, required: true, checked: last && last.what === what }),
          h("span", {}, h("b", {}, what), ` ${meaning}`),
        ),
      ),
    ),
    h("label", {}, "In your words (is kept with it)", why),
    h("button", { type: "submit", class: "first" }, "Say so"),
  );
  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const what = new FormData(form).get("what");
    if (await tell("label", { what, why: why.value })) {
      say(`${what} is kept with this event`);
      why.value = "";
    }
  });
  return form;
}

async function tell(name, body) {
  const done = await attempt(() => post(at("events", id, name), body));
  if (done) {
    told.said = done.said;
    said();
  }
  return done;
}

function said() {
  const { labels, marked, marked_by } = told.said;
  parts.said.replaceChildren(
    labels.length
      ? h(
          "ol",
          { class: "changes" },
          [...labels]
            .reverse()
            .map((one, place) =>
              h(
                "li",
                {},
                h("time", { datetime: one.time }, clock(one.time, now_s())),
                " ",
                h("b", {}, one.what),
                ` ${one.who}`,
                place ? null : h("small", { class: "inline" }, " (this one counts)"),
                one.why ? h("small", {}, ` ${one.why}`) : null,
              ),
            ),
        )
      : h("p", { class: "empty" }, "Nobody has said yet."),
  );
  const button = h(
    "button",
    { type: "button", "aria-pressed": String(marked) },
    marked ? "Keep no longer" : "Keep for good",
  );
  button.addEventListener("click", () => tell("mark", { marked: !marked }));
  parts.mark.replaceChildren(
    h(
      "p",
      {},
      marked
        ? `Stays, whatever the disk's budget says (${marked_by}). `
        : "Goes when the disk's budget or its age says so. ",
      button,
    ),
  );
}

function about(event, files) {
  const size = Object.values(files).reduce((sum, one) => sum + one.bytes, 0);
  const rows = [
    ["Name", event.id],
    ["Sound", `${event.seconds.toFixed(1)} s, ${event.sample_rate / 1000} kHz`],
    ["Files", `${Object.keys(files).length}, ${bytes(size)}`],
    ["Alarm", words(event.kind)],
    ["Bundle", event.bundle],
    ["Model", event.model_hash.slice(0, 12)],
  ];
  if (event.normal_db !== null && files["normal.flac"])
    rows.splice(2, 0, [
      "Normal sound",
      `nearest that was heard here, ${number(event.normal_db, 2)} dB away in the mean`,
    ]);
  return h(
    "dl",
    { class: "settings" },
    rows.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))),
  );
}

const seek = (s) => {
  if (player) player.seek(s);
};
const moved = (s) => figures.forEach((one) => one.head(s));

function keyed(key) {
  if (!player || key.target.closest("input:not([type=range]), dialog") || key.altKey || key.ctrlKey || key.metaKey)
    return;
  const taken = key.target.closest("button, a, input"); // which does something of its own with these keys
  if (key.key === " " && !taken) {
    key.preventDefault();
    player.toggle();
  }
  if (key.key === "n" || key.key === "N") player.swap();
  if (!taken && (key.key === "ArrowLeft" || key.key === "ArrowRight"))
    player.seek(player.at + (key.key === "ArrowLeft" ? -2 : 2));
}
