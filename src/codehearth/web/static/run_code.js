// The run button of a Python block: the server runs the code in its sandbox, the outcome is shown
// below it. Where the server cannot, the button says why and does nothing.

import { get, post } from "./api.js";
import { element, fill, icon } from "./dom.js";
import { words_of } from "./errors.js";
import { format_seconds, t } from "./strings.js";

let asked = null; // whether this server runs code; asked once, when the first block is shown

const availability = () =>
  (asked ??= get("/hearth/run").catch(() => {
    asked = null; // the server was away: the next block asks again
    return { available: true };
  }));

/** A button and the place for what came of it; `code` gives the code at the moment of the click. */
export class RunCode {
  constructor(code) {
    this.code = code;
    this.running = null;
    this.button = element("button", { type: "button", class: "code-button code-run", onclick: () => this.onClick() });
    this.outcome = element("div", { class: "run-outcome", role: "status", hidden: true });
    this.showButton();
    availability().then((found) => this.setAvailable(found));
  }

  setAvailable({ available, reason, hint }) {
    this.button.disabled = !available;
    if (!available) this.button.title = [t("run.off"), reason, hint].filter(Boolean).join(" ");
  }

  async onClick() {
    if (this.running) {
      this.running.abort();
      return;
    }
    this.running = new AbortController();
    this.showButton();
    this.show(element("p", { class: "faint" }, t("run.running")));
    try {
      const done = await post("/hearth/run", { code: this.code() }, { signal: this.running.signal });
      this.show(...outcome_of(done));
    } catch (error) {
      const { title, text } = words_of(error);
      const is_stopped = error.name === "AbortError";
      this.show(element("p", { class: "run-failed" }, is_stopped ? t("run.stopped") : `${title} ${text}`));
    } finally {
      this.running = null;
      this.showButton();
    }
  }

  showButton() {
    const is_running = Boolean(this.running);
    fill(this.button, icon(is_running ? "stop" : "play", 15), element("span", {}, t(is_running ? "run.stop" : "run.run")));
  }

  show(...nodes) {
    this.outcome.hidden = false;
    fill(this.outcome, ...nodes);
  }
}

function outcome_of({ ending, exit_code, stdout, stderr, was_cut, duration_s, sandbox }) {
  const key = ending === "exit" && exit_code === 0 ? "done" : ending;
  const told = t(`run.ending.${key}`, { code: exit_code });
  const is_silent = !stdout && !stderr;
  return [
    stdout && element("pre", { class: "run-output", tabindex: 0, "aria-label": t("run.output") }, stdout),
    stderr && element("pre", { class: "run-output is-error", tabindex: 0, "aria-label": t("run.errors") }, stderr),
    is_silent && element("p", { class: "faint" }, t("run.silent")),
    was_cut && element("p", { class: "faint" }, t("run.cut")),
    element("p", { class: "faint" }, `${told} · ${format_seconds(duration_s)} · ${t("run.sandbox", { name: sandbox })}`),
  ];
}
