// Where one writes: the text, attached files, prompts by `/`, and the button to send or to stop.
// What is written and attached is kept for each conversation until it was sent (drafts.js).

import { note } from "./dialogs.js";
import { element, fill, icon, iconButton } from "./dom.js";
import { draft_of, keep_draft, move_draft } from "./drafts.js";
import { file_chip } from "./message.js";
import { chosen_repository, page, prefer, refresh_repositories, while_viewed } from "./page.js";
import { format_bytes, t } from "./strings.js";

const LONG_PASTE = 2000;
const MAX_FILES = 16;
const MAX_FILE_BYTES = 3 * 2 ** 20;

export class Composer {
  /** `send({content, attachments})` resolves to whether it was taken; `stop()` ends the answer. */
  constructor({ send, stop, edit_last, manage_prompts }) {
    Object.assign(this, { send, stop, edit_last, manage_prompts });
    this.id = null;
    this.is_running = false;
    this.area = element("textarea", {
      class: "composer-text", rows: 1, "aria-label": t("composer.label"), placeholder: t("composer.placeholder"),
      oninput: () => this.onInput(), onkeydown: (event) => this.onKey(event), onpaste: (event) => this.onPaste(event),
      "aria-haspopup": "listbox", "aria-autocomplete": "list", "aria-controls": "prompt-menu",
    });
    this.chips = element("div", { class: "chips", hidden: true });
    this.menu = element("div", { class: "prompt-menu", id: "prompt-menu", role: "listbox", "aria-label": t("prompts.title"), hidden: true });
    this.repository = element("select", { class: "composer-repository", hidden: true, "aria-label": t("composer.repository"), title: t("composer.repository"),
      onchange: () => { prefer({ repository: this.repository.value || null }); this.showRepositories(); } });
    this.picker = element("input", { type: "file", multiple: true, hidden: true, onchange: () => this.onPicked() });
    this.button = element("button", { type: "button", class: "send-button", onclick: () => this.onButton() });
    this.node = element("div", { class: "composer" },
      this.menu, this.chips, this.area,
      element("div", { class: "composer-row" },
        iconButton("clip", t("composer.attach"), () => this.picker.click()),
        iconButton("book", t("prompts.title"), () => this.manage_prompts()),
        this.repository,
        element("span", { class: "composer-hint" }, t("composer.hint")),
        this.button),
      this.picker);
    this.node.addEventListener("dragover", (event) => this.onDrag(event, true));
    this.node.addEventListener("dragleave", (event) => this.onDrag(event, false));
    this.node.addEventListener("drop", (event) => this.onDrop(event));
    while_viewed("repositories", () => this.showRepositories());
    this.showRepositories();
    refresh_repositories().catch(() => {});
    this.showButton();
  }

  /** The choice of a repository; none where the server has none. */
  showRepositories() {
    this.repository.hidden = page.repositories.length === 0;
    fill(this.repository, element("option", { value: "" }, t("composer.no_repository")),
      page.repositories.map(({ name }) => element("option", { value: name }, name)));
    this.repository.value = chosen_repository() ?? "";
    this.repository.classList.toggle("is-chosen", Boolean(this.repository.value));
  }

  get draft() {
    return draft_of(this.id);
  }

  /** Shows the draft of a conversation. */
  show(id) {
    this.id = id;
    this.area.value = this.draft.text;
    this.closeMenu();
    this.showFiles();
    this.fit();
    this.showButton();
  }

  /** A new conversation got its id: what is written belongs to it now. */
  move_to(id) {
    move_draft(id);
    this.id = id;
  }

  set_running(is_running) {
    if (this.is_running === is_running) return;
    this.is_running = is_running;
    this.showButton();
  }

  focus() {
    this.area.focus();
  }

  insert(text) {
    this.area.value = text;
    this.onInput();
    this.focus();
    this.area.setSelectionRange(text.length, text.length);
  }

  showButton() {
    const has_text = this.area.value.trim() || this.draft.files.length;
    const label = t(this.is_running ? "composer.stop" : "composer.send");
    this.button.setAttribute("aria-label", label);
    this.button.title = label;
    this.button.classList.toggle("is-stop", this.is_running);
    this.button.disabled = !this.is_running && !has_text;
    fill(this.button, icon(this.is_running ? "stop" : "send"));
  }

  onButton() {
    if (this.is_running) this.stop();
    else this.submit();
  }

  async submit() {
    const content = this.area.value.trim();
    const { files } = this.draft;
    if ((!content && !files.length) || this.is_running || this.is_sending) return;
    this.is_sending = true;
    try {
      if (await this.send({ content, attachments: files })) this.clear();
    } finally {
      this.is_sending = false;
    }
  }

  clear() {
    this.draft.files = [];
    this.area.value = "";
    this.onInput();
    this.showFiles();
  }

  onInput() {
    this.draft.text = this.area.value;
    keep_draft(this.id);
    this.fit();
    this.showButton();
    this.showMenu();
  }

  fit() {
    this.area.style.height = "auto";
    this.area.style.height = `${Math.min(this.area.scrollHeight, innerHeight * 0.4)}px`;
  }

  onKey(event) {
    if (event.isComposing) return;
    if (!this.menu.hidden && this.onMenuKey(event)) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === "ArrowUp" && !this.area.value) {
      event.preventDefault();
      this.edit_last();
    }
  }

  // Files

  onPaste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (files.length && !text) {
      event.preventDefault();
      this.addFiles(files);
    } else if (text.length > LONG_PASTE) {
      event.preventDefault();
      const number = this.draft.files.filter((file) => file.is_pasted).length + 1;
      this.addText({ name: `${t("composer.pasted")}-${number}.txt`, text, is_pasted: true });
    }
  }

  onPicked() {
    this.addFiles([...this.picker.files]);
    this.picker.value = "";
  }

  onDrag(event, is_over) {
    event.preventDefault();
    this.node.classList.toggle("is-over", is_over);
  }

  onDrop(event) {
    this.onDrag(event, false);
    this.addFiles([...event.dataTransfer.files]);
  }

  async addFiles(files) {
    for (const file of files) {
      if (file.size > MAX_FILE_BYTES) {
        note(t("composer.too_large", { name: file.name, most: format_bytes(MAX_FILE_BYTES) }), "error");
        continue;
      }
      const text = await file.text();
      if (text.includes("\0")) note(t("composer.not_text", { name: file.name }), "error");
      else this.addText({ name: file.name, text });
    }
  }

  addText(file) {
    if (new Blob([file.text]).size > MAX_FILE_BYTES) {
      note(t("composer.too_large", { name: file.name, most: format_bytes(MAX_FILE_BYTES) }), "error");
    } else if (this.draft.files.length >= MAX_FILES) {
      note(t("composer.too_many", { most: MAX_FILES }), "error");
    } else {
      this.setFiles([...this.draft.files, file]);
    }
  }

  setFiles(files) {
    this.draft.files = files;
    keep_draft(this.id);
    this.showFiles();
    this.showButton();
  }

  showFiles() {
    const { files } = this.draft;
    this.chips.hidden = files.length === 0;
    fill(this.chips, files.map((file) => file_chip(file, () => {
      this.setFiles(this.draft.files.filter((other) => other !== file));
      this.focus();
    })));
  }

  // Prompts by `/`

  showMenu() {
    const asked = /^\/([\p{L}\p{N}_-]*)$/u.exec(this.area.value);
    const prompts = asked ? all_prompts().filter(({ name }) => name.toLowerCase().includes(asked[1].toLowerCase())) : [];
    if (!prompts.length) {
      this.closeMenu();
      return;
    }
    this.menu.hidden = false;
    this.at = 0;
    fill(this.menu, prompts.map((prompt, number) => element("div", {
      role: "option", id: `prompt-${number}`, class: "prompt-option", "aria-selected": String(number === 0),
      onmousedown: (event) => { event.preventDefault(); this.insert(prompt.text); },
    }, element("strong", {}, `/${prompt.name}`), element("span", {}, prompt.text))));
    this.prompts = prompts;
    this.mark();
  }

  closeMenu() {
    this.menu.hidden = true;
    this.area.removeAttribute("aria-activedescendant");
  }

  mark() {
    [...this.menu.children].forEach((node, number) => node.setAttribute("aria-selected", String(number === this.at)));
    this.menu.children[this.at].scrollIntoView({ block: "nearest" });
    this.area.setAttribute("aria-activedescendant", `prompt-${this.at}`);
  }

  onMenuKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      this.at = (this.at + step + this.prompts.length) % this.prompts.length;
      this.mark();
    } else if (event.key === "Enter" || event.key === "Tab") {
      this.insert(this.prompts[this.at].text);
      this.closeMenu();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      this.closeMenu();
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }
}

const FIRST_PROMPTS = ["explain", "review", "test", "document", "refactor"];

/** The person's own prompts, then the page's. */
export function all_prompts() {
  const own = page.preferences.prompts ?? [];
  const names = new Set(own.map((prompt) => prompt.name));
  const first = FIRST_PROMPTS.map((name) => ({ name: t(`prompt.${name}.name`), text: `${t(`prompt.${name}.text`)}\n\n` }));
  return [...own, ...first.filter(({ name }) => !names.has(name))];
}
