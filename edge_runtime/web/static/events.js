// Every event that was recorded, the newest first.

import { get, now_s } from "./api.js";
import { clock, h, lasts, morph, number, words } from "./dom.js";

const EVERY_MS = 15000;
let place = null,
  looked_ms = -Infinity;

export function open(view) {
  looked_ms = -Infinity;
  place = h("div", {}, h("p", { class: "empty" }, "Looking …"));
  view.append(
    h("h1", {}, "Events"),
    h(
      "p",
      { class: "lead" },
      "What was heard around each alarm. Say what it was: that is what the next training learns from.",
    ),
    place,
  );
}

export function show() {}

export async function look() {
  if (performance.now() - looked_ms < EVERY_MS) return;
  looked_ms = performance.now();
  try {
    const told = await get("/api/events?count=100");
    morph(
      place,
      h(
        "div",
        {},
        told.events.length
          ? h(
              "ul",
              { class: "events" },
              told.events.map((one) => item(one, told.meanings)),
            )
          : nothing(told.recorder),
      ),
    );
  } catch (refusal) {
    morph(place, h("div", {}, h("p", { class: "empty" }, refusal.message)));
  }
}

function nothing(recorder) {
  if (recorder === null)
    return h(
      "p",
      { class: "empty" },
      "Nothing is recorded: the site file has no recorder: section, or the page was started with a folder and does not know it.",
    );
  return h("p", { class: "empty" }, `Nothing was recorded yet. The next ${recorder.level} will be.`);
}

function item(one, meanings) {
  const label = one.label
    ? h("span", { class: "chip" }, one.label.what)
    : h("span", { class: "chip open" }, "what was it?");
  return h(
    "li",
    { "data-key": one.id },
    h(
      "a",
      { href: `/events/${one.id}` },
      h("span", { class: "what" }, h("b", {}, one.machine), `, ${one.level}`),
      h("time", { datetime: one.time }, clock(one.time, now_s()), one.clock ? ` (clock ${one.clock})` : ""),
      h("span", { class: "reason" }, one.reason || words(one.kind)),
      h("small", {}, `${lasts(one.seconds)}, score ${number(one.score)}`),
      h(
        "span",
        { class: "chips", title: one.label ? meanings[one.label.what] : "" },
        label,
        one.marked ? h("span", { class: "chip" }, "kept") : null,
      ),
    ),
  );
}
