// The chat: the branch that is shown, the composer below it, the parameters beside it.

import { Composer, all_prompts } from "./composer.js";
import { Conversation, open_conversation } from "./conversation.js";
import { note, show_dialog } from "./dialogs.js";
import { copy_text, element, fill, icon, iconButton } from "./dom.js";
import { card, error_card, words_of } from "./errors.js";
import { MessageNode, parted } from "./message.js";
import { show_model } from "./model_details.js";
import { changed, chosen_repository, page, prefer } from "./page.js";
import { ParametersPanel } from "./parameters.js";
import { t } from "./strings.js";

const NEAR_END_PX = 90;
const MOST_SHOWN_AT_FIRST = 60;

export class ChatView {
  /** `go(path)` changes the address; `open_models()` opens the picker; `use_model(name)` chooses. */
  constructor({ go, open_models, use_model }) {
    this.go = go;
    this.use_model = use_model;
    this.open_models = open_models;
    this.nodes = new Map();
    this.dirty = new Set();
    this.num_shown = MOST_SHOWN_AT_FIRST;
    this.is_at_end = true;
    this.list = element("div", { class: "messages" });
    this.refusal = element("div", { class: "refusal" });
    this.to_end = iconButton("down", t("chat.to_end"), () => this.scrollToEnd(true), { class: "to-end" });
    this.to_end.hidden = true;
    this.scroller = element("div", { class: "scroller", tabindex: 0, role: "log", "aria-live": "off", "aria-label": t("chat.messages"),
      onscroll: () => this.onScroll() }, this.list);
    this.composer = new Composer({
      send: (draft) => this.send(draft),
      stop: () => this.conversation.stop(),
      edit_last: () => this.editLast(),
      manage_prompts: () => manage_prompts((text) => this.composer.insert(text)),
    });
    this.status = element("div", { class: "off-screen", role: "status", "aria-live": "polite" });
    this.panel = new ParametersPanel();
    this.node = element("div", { class: "chat" },
      element("div", { class: "chat-column" },
        this.scroller,
        element("div", { class: "chat-bottom" }, this.to_end, this.refusal, this.composer.node,
          element("p", { class: "fine-print" }, t("chat.fine_print")))),
      this.panel.node, this.status);
    this.onTold = (what, id) => this.told(what, id);
    this.act = {
      edit: (message, node) => this.edit(message, node),
      regenerate: (message) => this.ask({ action: "regenerate", message_id: message.id }),
      proceed: (message) => this.ask({ action: "continue", message_id: message.id }),
      show_sibling: (message) => this.attempt(() => this.conversation.show_branch_of(message.id)),
      choose_model: () => this.open_models(),
      smaller: (name) => show_model(name, { use: this.use_model }),
    };
  }

  /** Opens a conversation by id, or a new one. */
  async open(id) {
    const opening = (this.opening = {});
    const conversation = id ? await open_conversation(id) : new Conversation();
    if (opening !== this.opening) return; // somebody went on to another one meanwhile
    this.conversation?.listeners.delete(this.onTold);
    this.conversation = conversation;
    conversation.listeners.add(this.onTold);
    this.nodes.clear();
    this.num_shown = MOST_SHOWN_AT_FIRST;
    fill(this.refusal);
    this.composer.show(conversation.id);
    this.panel.show(conversation);
    this.is_at_end = true;
    this.rebuild();
    this.scrollToEnd();
    changed("conversation");
  }

  focus() {
    this.composer.focus();
  }

  told(what, id) {
    if (what === "message") this.touch(id);
    else if (what === "settings") changed("conversation");
    else if (what === "gone") this.tellGone();
    else this.rebuild();
  }

  /** The conversation was deleted while it was looked at: what is here stays to be read. */
  tellGone() {
    this.rebuild();
    fill(this.refusal, gone_card());
  }

  /** Listens no more: another view takes this one's place. */
  leave() {
    this.conversation?.listeners.delete(this.onTold);
  }

  /** Asks for a message to be drawn with the next frame, not sooner than the last drawing's cost allows. */
  touch(id) {
    this.dirty.add(id);
    if (this.is_due) return;
    this.is_due = true;
    const wait_ms = Math.min(250, (this.cost_ms ?? 0) * 3);
    const draw = () => requestAnimationFrame(() => this.draw());
    if (wait_ms < 12) draw();
    else setTimeout(draw, wait_ms);
  }

  draw() {
    const began_at = performance.now();
    this.is_due = false;
    const ids = [...this.dirty];
    this.dirty.clear();
    const branch = this.conversation.branch();
    for (const id of ids) this.drawMessage(branch, branch.findIndex((message) => message.id === id));
    if (!this.conversation.is_running && this.composer.is_running) this.rebuild();
    if (this.is_at_end) this.scrollToEnd();
    this.cost_ms = performance.now() - began_at;
  }

  drawMessage(branch, number) {
    const message = branch[number];
    const node = message && this.nodes.get(message.id);
    node?.update(message, {
      running: this.conversation.running.get(message.id),
      siblings: this.conversation.siblings(message),
      is_last: number === branch.length - 1,
      is_busy: this.conversation.is_running,
      is_reconnecting: this.conversation.is_reconnecting,
    });
  }

  /** Shows the branch as it is now; messages that stay keep their elements. */
  rebuild() {
    const branch = this.conversation.branch();
    const first = Math.max(0, branch.length - this.num_shown);
    const shown = branch.slice(first).map((message) => this.nodeOf(message));
    if (!branch.length) fill(this.list, this.welcome());
    else fill(this.list, first > 0 && this.earlierButton(first), shown);
    branch.forEach((_, number) => number >= first && this.drawMessage(branch, number));
    const was_running = this.composer.is_running;
    this.composer.set_running(this.conversation.is_running);
    if (was_running && !this.conversation.is_running) this.status.textContent = t("chat.answered");
    this.node.classList.toggle("is-empty", branch.length === 0);
    if (this.is_at_end) this.scrollToEnd();
  }

  nodeOf(message) {
    if (!this.nodes.has(message.id)) this.nodes.set(message.id, new MessageNode(message, this.act));
    return this.nodes.get(message.id).node;
  }

  earlierButton(num_hidden) {
    return element("button", { type: "button", class: "button earlier", onclick: () => {
      const height = this.scroller.scrollHeight;
      this.num_shown += MOST_SHOWN_AT_FIRST;
      this.rebuild();
      this.scroller.scrollTop += this.scroller.scrollHeight - height;
    } }, t("chat.earlier", { count: num_hidden }));
  }

  welcome() {
    const prompts = ["function", "explain", "test", "regex"];
    return element("div", { class: "welcome" },
      element("div", { class: "welcome-mark", "aria-hidden": "true" }, icon("flame", 34)),
      element("h1", {}, t("welcome.title")),
      element("p", {}, t("welcome.text")),
      element("div", { class: "suggestions" }, prompts.map((name) =>
        element("button", { type: "button", class: "suggestion", onclick: () => this.composer.insert(t(`welcome.${name}.prompt`)) },
          element("strong", {}, t(`welcome.${name}.title`)), element("span", {}, t(`welcome.${name}.prompt`).split("\n")[0])))));
  }

  // Asking

  async send({ content, attachments }) {
    const files = attachments.map(({ name, text }) => ({ name, text }));
    const repository = chosen_repository();
    return this.ask({ action: "send", content, attachments: files, repository }, () => this.composer.submit());
  }

  /**
   * Whether the server took it; where it did not, the reason is shown above the draft. A message is
   * tried `again` as it then stands in the composer, which is emptied once it was taken.
   */
  async ask(body, again = () => this.ask(body)) {
    const was_new = !this.conversation.id;
    fill(this.refusal);
    this.is_at_end = true;
    const { conversation } = this;
    this.composer.set_running(true);
    try {
      await conversation.ask(body);
    } catch (error) {
      this.composer.set_running(conversation.is_running);
      this.refuse(error, again);
      return false;
    }
    if (was_new) {
      this.composer.move_to(conversation.id);
      this.go(`#/chat/${conversation.id}`);
    }
    return true;
  }

  refuse(error, again) {
    if (error.status === 401) return; // the form for a key is already there
    const { code } = words_of(error);
    const is_model = ["does_not_fit", "model_not_found"].includes(code);
    const close = { label: t("close"), act: () => fill(this.refusal) };
    const retry = { label: t("try_again"), icon: "retry", act: again };
    const other = { label: t("chat.other_model"), icon: "box", act: () => this.open_models(), is_primary: true };
    const smaller = code === "does_not_fit" &&
      { label: t("chat.smaller"), icon: "box", act: () => this.act.smaller(this.conversation.model), is_primary: true };
    const rest = is_model ? [smaller, other] : code === "conflict" ? [] : [retry];
    fill(this.refusal, error_card(error, [...rest, close].filter(Boolean)));
  }

  async attempt(work) {
    try {
      await work();
    } catch (error) {
      this.refuse(error, () => this.attempt(work));
    }
  }

  async edit(message, node) {
    const content = await node.edited(message);
    if (content === undefined || (!content.trim() && !message.attachments?.length)) return;
    await this.ask({ action: "edit", message_id: message.id, content, attachments: message.attachments ?? [] });
  }

  editLast() {
    const last = this.conversation.branch().filter((message) => message.role === "user").at(-1);
    if (last && !this.conversation.is_running) this.edit(last, this.nodes.get(last.id));
  }

  async copyLastAnswer() {
    const answer = this.conversation.last_answer();
    if (!answer) return;
    await copy_text(parted(answer).content);
    note(t("copied"));
  }

  async copyLastCode() {
    const blocks = this.list.querySelectorAll(".code-block pre code");
    if (!blocks.length) return;
    await copy_text(blocks[blocks.length - 1].textContent);
    note(t("copied"));
  }

  // Scrolling

  onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.is_at_end = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    this.to_end.hidden = this.is_at_end;
  }

  scrollToEnd(is_smooth = false) {
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: is_smooth ? "smooth" : "instant" });
  }
}

export const gone_card = () => card("warning", t("chat.gone.title"), t("chat.gone.text"));

/** The prompt library: what `/` offers, to insert, to change and to add to. */
function manage_prompts(insert) {
  show_dialog(t("prompts.title"), (close) => {
    const list = element("div", { class: "prompt-list" });
    const name = element("input", { class: "field", maxlength: 40, required: true, pattern: "[\\p{L}\\p{N}_\\-]+",
      placeholder: t("prompts.name"), "aria-label": t("prompts.name") });
    const text = element("textarea", { class: "field", rows: 3, required: true, placeholder: t("prompts.text"), "aria-label": t("prompts.text") });
    const own = () => page.preferences.prompts ?? [];
    const show = () => fill(list, all_prompts().map((prompt) => element("div", { class: "prompt-row" },
      element("button", { type: "button", class: "prompt-use", onclick: () => { close(); insert(prompt.text); } },
        element("strong", {}, `/${prompt.name}`), element("span", {}, prompt.text)),
      own().some((mine) => mine.name === prompt.name) && iconButton("trash", t("prompts.delete", { name: prompt.name }), () => {
        prefer({ prompts: own().filter((mine) => mine.name !== prompt.name) });
        show();
      }))));
    const save = (event) => {
      event.preventDefault();
      const kept = own().filter((mine) => mine.name !== name.value);
      prefer({ prompts: [...kept, { name: name.value, text: text.value }] });
      name.value = text.value = "";
      show();
    };
    show();
    return [
      element("p", { class: "faint" }, t("prompts.how")),
      list,
      element("form", { class: "prompt-form", onsubmit: save }, name, text,
        element("div", { class: "dialog-actions" }, element("button", { class: "button is-primary" }, t("prompts.save")))),
    ];
  }, { wide: true });
}
