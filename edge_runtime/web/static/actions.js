// What people do, and who they are. Every answer is said in words; a refusal stays until it is closed.

import { get, post, at } from "./api.js";
import { h, morph, words } from "./dom.js";

export const NAMES = {
  acknowledge: ["ack", "Acknowledge"],
  reset: ["reset", "Reset"],
  silence: ["silence", "Silence"],
  shelve: ["shelve", "Shelve…"],
  unshelve: ["unshelve", "Unshelve"],
  out_of_service: ["out-of-service", "Out of service…"],
  in_service: ["in-service", "In service"],
};
const FIRST = ["acknowledge", "reset", "unshelve", "in_service"];
const SHELVES = [
  [15, "15 minutes"],
  [60, "1 hour"],
  [240, "4 hours"],
  [480, "8 hours"],
];
let person = { who: null, open: true },
  again = () => {};

// Buttons for what an alarm allows, in one row.
export function buttons(alarm, fresh) {
  return h(
    "div",
    { class: "buttons" },
    Object.keys(NAMES)
      .filter((one) => alarm.can.includes(one))
      .map((action) =>
        h(
          "button",
          {
            type: "button",
            disabled: !fresh,
            class: FIRST.includes(action) ? "first" : "",
            "data-act": action,
            "data-machine": alarm.machine,
            "data-kind": alarm.kind,
            "aria-label": `${NAMES[action][1].replace("…", "")}: ${alarm.machine}, ${words(alarm.kind)}`,
          },
          NAMES[action][1],
        ),
      ),
  );
}

export function begin(look) {
  again = look;
  document.addEventListener("click", (click) => {
    const button = click.target.closest("[data-act]");
    if (button) act(button.dataset.act, button.dataset.machine, button.dataset.kind);
    if (click.target.closest("#me [data-me]")) person.who === null ? signIn() : signOut();
  });
}

async function act(action, machine, kind) {
  let body = {};
  if (action === "shelve") body = await shelf(machine);
  if (action === "out_of_service")
    body = await reason(
      `Take ${machine} out of service`,
      "Nobody is called until somebody puts it in service again. Scoring goes on.",
      "Take out of service",
    );
  if (body === null) return;
  const done = await attempt(() => post(at("machines", machine, kind, NAMES[action][0]), body));
  if (done) say(done.words);
  again();
}

// Do it; where nobody is signed in, ask who it is and do it then. Refusals are said.
export async function attempt(what) {
  try {
    return await what();
  } catch (refusal) {
    if (refusal.status === 401 && (await signIn("Whoever acts is written down."))) return attempt(what);
    if (refusal.status !== 401) say(refusal.message, true);
    return null;
  }
}

export function say(text, refused = false) {
  const place = document.getElementById("said");
  const close = h(
    "button",
    { type: "button", class: "plain", "aria-label": "Close", onclick: () => place.replaceChildren() },
    "×",
  );
  const note = h(
    "p",
    { class: refused ? "refused" : "done" },
    h("span", {}, h("b", {}, refused ? "Refused: " : "Done: "), words(text).replace("->", "→")),
    close,
  );
  place.replaceChildren(note);
  if (!refused) setTimeout(() => note.remove(), 6000);
}

export async function me() {
  try {
    person = await get("/api/me");
  } catch {
    /* the banner says it */
  }
  meShown();
}

export function meShown() {
  morph(
    document.getElementById("me"),
    h(
      "span",
      { id: "me" },
      person.who ? h("span", { class: "who" }, person.who) : null,
      h("button", { type: "button", class: "plain", "data-me": "" }, person.who === null ? "Sign in" : "Sign out"),
    ),
  );
}

async function signOut() {
  await attempt(() => post("/api/sign-out"));
  await me();
  again();
}

let asking = null;
export function signIn(why = "Reading is open here; whoever acts is written down.") {
  asking =
    asking ||
    ask(why).finally(() => {
      asking = null;
    });
  return asking;
}

function ask(why) {
  const name = h("input", { name: "who", required: true, maxlength: 60, autocomplete: "name", value: stored() });
  const token = h("input", {
    name: "token",
    type: "password",
    required: true,
    autocomplete: "current-password",
    spellcheck: "false",
  });
  const wrong = h("p", { class: "wrong", role: "alert" });
  return dialog(
    "Sign in",
    [
      h("p", {}, why),
      h("label", {}, "Your name, as it is kept with what you do", name),
      h("label", {}, "Token", token),
      h(
        "p",
        { class: "note" },
        "The token lies on the listening computer, in the file page.token of the state folder; whoever runs it can read it to you.",
      ),
      wrong,
    ],
    "Sign in",
    async () => {
      try {
        person = { ...person, ...(await post("/api/sign-in", { who: name.value, token: token.value })) };
      } catch (refusal) {
        wrong.textContent = refusal.message;
        return undefined;
      }
      try {
        localStorage.setItem("who", name.value);
      } catch {
        /* private windows keep nothing */
      }
      meShown();
      return true;
    },
  );
}

function stored() {
  try {
    return localStorage.getItem("who") || "";
  } catch {
    return "";
  }
}

function shelf(machine) {
  const minutes = h("input", {
    name: "minutes",
    type: "number",
    min: 1,
    step: 1,
    value: 60,
    required: true,
    inputmode: "numeric",
  });
  const why = h("input", { name: "why", maxlength: 500 });
  const quick = h(
    "div",
    { class: "buttons" },
    SHELVES.map(([many, text]) =>
      h(
        "button",
        {
          type: "button",
          onclick: () => {
            minutes.value = many;
          },
        },
        text,
      ),
    ),
  );
  return dialog(
    `Shelve ${machine}`,
    [
      h("p", {}, "Nobody is called until then; if it still sounds wrong, the alarm comes back."),
      quick,
      h("label", {}, "Minutes", minutes),
      h("label", {}, "Why (is kept with it)", why),
    ],
    "Shelve",
    () => ({ minutes: Number(minutes.value), why: why.value }),
  );
}

function reason(title, text, button) {
  const why = h("input", { name: "why", maxlength: 500 });
  return dialog(title, [h("p", {}, text), h("label", {}, "Why (is kept with it)", why)], button, () => ({
    why: why.value,
  }));
}

// A dialog -> what `done` gives; null: closed. `done` gives undefined to stay open.
function dialog(title, content, button, done) {
  return new Promise((resolve) => {
    let result = null;
    const cancel = h("button", { type: "button", onclick: () => box.close() }, "Cancel");
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "dialog-title" }, title),
      content,
      h("div", { class: "buttons" }, h("button", { type: "submit", class: "first" }, button), cancel),
    );
    const box = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    form.addEventListener("submit", async (submit) => {
      submit.preventDefault();
      const found = await done();
      if (found !== undefined) {
        result = found;
        box.close();
      }
    });
    box.addEventListener("close", () => {
      box.remove();
      resolve(result);
    });
    document.body.append(box);
    box.showModal();
  });
}
