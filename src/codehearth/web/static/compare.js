// Two models on one prompt, side by side, with the speeds of both and a vote that is kept.

import { Refused, events, get, get_text, post } from "./api.js";
import { element, fill, icon, save_file, throttled } from "./dom.js";
import { error_card, note_error } from "./errors.js";
import { speed_of, speed_text } from "./figures.js";
import { MarkdownView } from "./markdown.js";
import { first_parameters, is_on_machine, page, preferred_model } from "./page.js";
import { ModelPicker } from "./picker.js";
import { format_count, format_seconds, t, t_count } from "./strings.js";

const WINNERS = ["first", "tie", "neither", "second"];

export class View {
  constructor() {
    const here = page.models.filter((model) => model.kind === "chat" && is_on_machine(model)).map((model) => model.name);
    const first = preferred_model();
    this.sides = [new Side("A", first), new Side("B", here.find((name) => name !== first) ?? first)];
    this.prompt = element("textarea", { class: "field", rows: 3, "aria-label": t("compare.prompt"), placeholder: t("compare.prompt"), value: t("compare.first"),
      onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run(); } });
    this.together = element("input", { type: "checkbox" });
    this.button = element("button", { type: "button", class: "button is-primary", onclick: () => (this.abort ? this.stop() : this.run()) }, t("compare.run"));
    this.votes = element("div", { class: "votes", role: "group", "aria-label": t("compare.vote"), hidden: true });
    this.tally = element("section", { class: "section" });
    this.node = element("div", { class: "page-scroll" }, element("div", { class: "page-column is-wide" },
      element("p", { class: "lead" }, t("compare.lead")),
      this.prompt,
      element("div", { class: "toolbar" }, element("label", { class: "check", title: t("compare.together.why") }, this.together, t("compare.together")), element("span", { class: "spring" }), this.button),
      element("div", { class: "sides" }, this.sides.map((side) => side.node)),
      this.votes, this.tally));
  }

  open() {
    this.sides.forEach((side) => side.picker.showButton());
    this.readVotes();
  }

  stop() {
    this.abort?.abort();
  }

  /** One after the other, unless asked otherwise: beside each other they would share the machine. */
  async run() {
    const prompt = this.prompt.value.trim();
    if (!prompt || this.abort) return;
    this.abort = new AbortController();
    this.votes.hidden = true;
    fill(this.button, icon("stop", 15), t("composer.stop"));
    this.sides.forEach((side) => side.clear());
    try {
      if (this.together.checked) await Promise.all(this.sides.map((side) => side.run(prompt, this.abort.signal)));
      else for (const side of this.sides) await side.run(prompt, this.abort.signal);
    } finally {
      this.abort = null;
      fill(this.button, t("compare.run"));
    }
    if (this.sides.every((side) => side.figures)) this.offerVotes(prompt);
  }

  offerVotes(prompt) {
    this.votes.hidden = false;
    fill(this.votes, element("span", {}, t("compare.vote")), WINNERS.map((winner) =>
      element("button", { type: "button", class: "button", onclick: () => this.vote(prompt, winner) }, t(`compare.winner.${winner}`))));
  }

  async vote(prompt, winner) {
    const [first, second] = this.sides.map((side) => ({ model: side.model, ...side.figures }));
    try {
      await post("/hearth/votes", { prompt, first, second, winner });
      fill(this.votes, icon("check"), element("span", { role: "status" }, t("compare.kept")));
      await this.readVotes();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      fill(this.votes, error_card(error, [{ label: t("try_again"), act: () => this.offerVotes(prompt) }]));
    }
  }

  async readVotes() {
    try {
      const { votes } = await get("/hearth/votes?limit=200");
      fill(this.tally, votes.length > 0 && [
        element("div", { class: "toolbar" }, element("h2", {}, t("compare.votes")), element("span", { class: "spring" }),
          element("button", { type: "button", class: "button is-small", onclick: () => this.export() }, icon("download", 15), t("compare.export"))),
        tally_table(votes)]);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      fill(this.tally);
    }
  }

  async export() {
    try {
      save_file("codehearth-votes.json", await get_text("/hearth/votes/export"), "application/json");
    } catch (error) {
      note_error(error);
    }
  }
}

/** One column: a model, its answer and what it cost. */
class Side {
  constructor(letter, model) {
    this.model = model;
    this.picker = new ModelPicker({ choose: (name) => { this.model = name; }, current: () => this.model, label: t("compare.model", { letter }) });
    this.text = element("div", { class: "markdown" });
    this.view = new MarkdownView(this.text);
    this.foot = element("div", { class: "figures" });
    this.node = element("section", { class: "side", "aria-label": t("compare.model", { letter }) },
      element("div", { class: "side-head" }, element("span", { class: "letter" }, letter), this.picker.button),
      element("div", { class: "side-body", tabindex: 0 }, this.text), this.foot);
    this.clear();
  }

  clear() {
    this.view.clear();
    this.figures = null;
    fill(this.foot, element("span", {}, t("compare.empty")));
  }

  async run(prompt, signal) {
    const { max_tokens, temperature, top_p } = { ...first_parameters(), ...page.preferences.parameters };
    const body = { model: this.model, messages: [{ role: "user", content: prompt }], max_tokens, temperature, top_p, stream: true, stream_options: { include_usage: true } };
    const began_at = performance.now();
    const seconds = () => (performance.now() - began_at) / 1000;
    const draw = throttled(40, () => this.view.update(this.answer));
    let first_s = null;
    let usage = null;
    this.answer = "";
    fill(this.foot, element("span", { role: "status" }, t("status.waiting")));
    try {
      for await (const { data } of events("/v1/chat/completions", body, signal)) {
        if (data.error) throw new Refused(500, data.error);
        const piece = data.choices?.[0]?.delta?.content;
        usage = data.usage ?? usage;
        if (!piece) continue;
        first_s ??= seconds();
        this.answer += piece;
        draw();
      }
    } catch (error) {
      if (error.name === "AbortError") fill(this.foot, element("span", {}, t("compare.stopped")));
      else if (error instanceof Refused) fill(this.foot, error_card(error));
      else throw error;
      return;
    }
    this.view.update(this.answer);
    this.tell(first_s ?? seconds(), seconds(), usage?.completion_tokens ?? 0);
  }

  tell(first_s, total_s, count) {
    const speed = speed_of({ completion_tokens: count, first_token_s: first_s, duration_s: total_s, tokens_per_s: (count - 1) / (total_s - first_s) });
    this.figures = { first_token_s: first_s, completion_tokens: count, ...(speed > 0 && { tokens_per_s: speed }) };
    fill(this.foot,
      speed > 0 && element("strong", {}, speed_text(speed)),
      element("span", {}, t("figures.first", { time: format_seconds(first_s) })),
      element("span", {}, t_count("tokens", count)), element("span", {}, t("complete.total", { time: format_seconds(total_s) })));
  }
}

function tally_table(votes) {
  const rows = new Map();
  const row_of = (name) => {
    if (!rows.has(name)) rows.set(name, { wins: 0, losses: 0, ties: 0 });
    return rows.get(name);
  };
  for (const { first, second, winner } of votes) {
    const [a, b] = [row_of(first.model), row_of(second.model)];
    if (winner === "first") { a.wins++; b.losses++; }
    else if (winner === "second") { b.wins++; a.losses++; }
    else { a.ties++; b.ties++; }
  }
  const sorted = [...rows].sort(([, a], [, b]) => b.wins - a.wins);
  return element("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": t("compare.votes") }, element("table", { class: "table" },
    element("thead", {}, element("tr", {}, ["model", "wins", "losses", "ties"].map((name) => element("th", { scope: "col" }, t(`compare.head.${name}`))))),
    element("tbody", {}, sorted.map(([name, row]) => element("tr", {}, element("th", { scope: "row" }, name),
      [row.wins, row.losses, row.ties].map((count) => element("td", { class: "number-cell" }, format_count(count))))))));
}
