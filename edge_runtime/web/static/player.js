// An event's sound and the nearest normal sound, to compare by ear: one tap or the key N goes from one to the other.

import { h } from "./dom.js";

const told = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

export class Player {
  constructor(sound, normal, event, moved) {
    this.moved = moved;
    this.seconds = event.seconds;
    this.sound = h("audio", { src: sound, preload: "metadata", id: "sound" });
    this.normal = normal ? h("audio", { src: normal, preload: "auto", id: "normal", loop: true }) : null;
    this.now = this.sound;
    this.button = h("button", { type: "button", class: "first play", onclick: () => this.toggle() }, "▶ Play");
    this.choices = [
      ["Event", this.sound],
      ["Normal", this.normal],
    ].map(([text, audio]) =>
      h(
        "button",
        {
          type: "button",
          disabled: !audio,
          "aria-pressed": String(audio === this.now),
          onclick: () => audio && audio !== this.now && this.swap(),
        },
        text,
      ),
    );
    this.bar = h("input", {
      type: "range",
      min: 0,
      max: event.seconds,
      step: 0.05,
      value: 0,
      "aria-label": "Second of the event's sound",
    });
    this.bar.addEventListener("input", () => this.seek(Number(this.bar.value)));
    this.time = h("output", {}, `0:00 of ${told(event.seconds)}`);
    this.wrong = h("p", { class: "wrong", role: "alert" });
    for (const audio of [this.sound, this.normal].filter(Boolean)) {
      for (const name of ["play", "pause", "ended", "timeupdate", "seeked"])
        audio.addEventListener(name, () => this.show());
      audio.addEventListener("error", () => {
        this.wrong.textContent = "The sound cannot be played: it was removed meanwhile, or this browser knows no FLAC.";
      });
    }
    const hint = normal
      ? "N: between the event and the nearest normal sound of this site. Space: play and pause."
      : "There is no normal sound of this site to compare with yet. Space: play and pause.";
    this.node = h(
      "section",
      { class: "player", "aria-label": "Sound" },
      h(
        "div",
        { class: "row" },
        this.button,
        h("div", { class: "choices", role: "group", "aria-label": "Which sound" }, this.choices),
        this.time,
      ),
      this.bar,
      h("p", { class: "note" }, hint),
      this.wrong,
      this.sound,
      this.normal,
    );
  }

  get at() {
    return this.sound.currentTime;
  }

  toggle() {
    if (this.now.paused) this.now.play().catch(() => {});
    else this.now.pause();
  }

  swap() {
    if (!this.normal) return;
    const playing = !this.now.paused;
    this.now.pause();
    this.now = this.now === this.sound ? this.normal : this.sound;
    if (playing) this.now.play().catch(() => {});
    this.show();
  }

  seek(s) {
    if (this.now !== this.sound) this.swap();
    this.sound.currentTime = Math.min(Math.max(0, s), this.seconds);
    this.show();
  }

  stop() {
    this.sound.pause();
    if (this.normal) this.normal.pause();
    cancelAnimationFrame(this.frame);
  }

  show() {
    const playing = !this.now.paused;
    this.button.textContent = playing ? "⏸ Pause" : "▶ Play";
    this.choices.forEach((one, place) =>
      one.setAttribute("aria-pressed", String((place === 0) === (this.now === this.sound))),
    );
    this.time.textContent = this.now === this.sound ? `${told(this.at)} of ${told(this.seconds)}` : "normal sound";
    this.bar.value = this.at;
    this.moved(this.at);
    cancelAnimationFrame(this.frame);
    if (playing && !matchMedia("(prefers-reduced-motion: reduce)").matches)
      this.frame = requestAnimationFrame(() => this.show());
  }
}
