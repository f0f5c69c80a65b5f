// Connect: what to write into an editor or client so that it uses this server, and a test that the
// request it will send is answered.

import { Refused, post } from "./api.js";
import { CodeBlock } from "./code_block.js";
import { read_clients, written } from "./clients.js";
import { element, fill, icon } from "./dom.js";
import { error_card } from "./errors.js";
import { model_named, page, preferred_model } from "./page.js";
import { ModelPicker } from "./picker.js";
import { format_seconds, t } from "./strings.js";

const GROUPS = ["editor", "agent", "script"];

// What each kind of client will ask: the smallest request of that kind.
const TESTS = {
  chat: (model) => ["/v1/chat/completions", { model, messages: [{ role: "user", content: "Say hello" }], max_tokens: 4 }],
  fim: (model) => ["/v1/completions", { model, prompt: "def add(a, b):\n    return ", suffix: "\n", max_tokens: 4 }],
  messages: (model) => ["/v1/messages", { model, messages: [{ role: "user", content: "Say hello" }], max_tokens: 4 }],
  responses: (model) => ["/v1/responses", { model, input: "Say hello", max_output_tokens: 4 }],
};

export class View {
  constructor() {
    this.model = preferred_model();
    this.picker = new ModelPicker({ choose: (name) => { this.model = name; this.show(); }, current: () => this.model, label: t("models.choose") });
    this.tabs = element("div", { class: "client-list", role: "tablist", "aria-label": t("connect.clients"), "aria-orientation": "vertical", onkeydown: (event) => this.onKey(event) });
    this.pane = element("div", { class: "client-pane", role: "tabpanel", id: "client-pane", tabindex: 0 });
    this.clients = [];
    this.chosen = "curl";
    this.node = element("div", { class: "page-scroll" }, element("div", { class: "page-column is-wide" },
      element("p", { class: "lead" }, t("connect.lead")),
      element("div", { class: "toolbar" }, element("code", { class: "address" }, `${location.origin}/v1`), this.picker.button),
      element("div", { class: "clients" }, this.tabs, this.pane),
      element("p", { class: "faint" }, t("connect.cannot"))));
  }

  async open(id) {
    if (!this.clients.length) this.clients = await read_clients();
    if (this.clients.some((client) => client.id === id)) this.chosen = id;
    this.picker.showButton();
    this.show();
  }

  show() {
    fill(this.tabs, GROUPS.map((group) => [
      element("div", { class: "group-title", role: "presentation" }, t(`connect.${group}`)),
      this.clients.filter((client) => client.group === group).map((client) => element("button", {
        type: "button", role: "tab", class: "client-tab", "aria-selected": String(client.id === this.chosen), "aria-controls": "client-pane",
        tabindex: client.id === this.chosen ? 0 : -1, dataset: { client: client.id }, onclick: () => this.choose(client.id) }, client.name))]));
    const client = this.clients.find(({ id }) => id === this.chosen);
    const block = new CodeBlock(client.language);
    block.update(this.written(client.text));
    const outcome = element("div", { class: "test-outcome", role: "status" });
    const button = element("button", { type: "button", class: "button is-primary", onclick: () => this.test(client, button, outcome) }, icon("bolt", 16), t("connect.test"));
    this.pane.setAttribute("aria-label", client.name);
    fill(this.pane,
      element("h2", {}, client.name),
      client.works && element("p", { class: "faint" }, client.works),
      client.file && element("p", { class: "faint" }, t("connect.file"), " ", element("code", {}, client.file)),
      block.node,
      client.then && element("p", { class: "faint" }, client.then),
      page.session?.keys_required && element("p", { class: "faint" }, t("connect.key")),
      element("div", { class: "toolbar" }, button), outcome);
  }

  choose(id) {
    this.chosen = id;
    this.show();
    this.tabs.querySelector('[aria-selected="true"]').focus();
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const ids = [...this.tabs.querySelectorAll("[data-client]")].map((tab) => tab.dataset.client);
    this.choose(ids.at((ids.indexOf(this.chosen) + step) % ids.length));
  }

  written(text) {
    const context = model_named(this.model)?.predicted?.context_tokens ?? 8192;
    return written(text, { model: this.model, key: page.session?.keys_required ? "sk-…" : "none", context });
  }

  async test(client, button, outcome) {
    button.disabled = true;
    fill(outcome, element("p", { class: "faint" }, t("status.waiting")));
    const began_at = performance.now();
    try {
      for (const use of client.uses) await post(...TESTS[use](this.model));
      const time = format_seconds((performance.now() - began_at) / 1000);
      fill(outcome, element("p", { class: "is-good" }, icon("check"), t("connect.works", { time })));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      fill(outcome, error_card(error));
    } finally {
      button.disabled = false;
    }
  }
}
