// The sidebar: places to go, and the conversations: search, rename, delete, export, import.

import { get, get_text, patch, post, remove } from "./api.js";
import { forget_conversation, path_of } from "./conversation.js";
import { asked_text, confirmed, note, show_menu } from "./dialogs.js";
import { element, fill, icon, iconButton, save_file, settled } from "./dom.js";
import { note_error, words_of } from "./errors.js";
import { changed, while_viewed } from "./page.js";
import { format_day, t, t_count } from "./strings.js";

const PLACES = [["chat", "chat"], ["complete", "code"], ["models", "box"], ["compare", "columns"], ["measure", "chart"], ["tune", "flame"], ["connect", "plug"]];
const PAGE_SIZE = 50;

export class Sidebar {
  /** `go(path)` changes the address, `place()` is the present one as `{name, id}`. */
  constructor({ go, place, controls }) {
    this.go = go;
    this.place = place;
    this.conversations = [];
    this.search = element("input", { type: "search", class: "field", placeholder: t("list.search"), "aria-label": t("list.search"),
      oninput: settled(180, () => this.find()), onkeydown: (event) => this.onKey(event) });
    this.list = element("div", { class: "conversations" });
    this.places = element("nav", { class: "places", "aria-label": t("nav.label") });
    this.importer = element("input", { type: "file", hidden: true, accept: ".json,.md,.markdown", onchange: () => this.import() });
    this.node = element("aside", { class: "sidebar", id: "sidebar", "aria-label": t("nav.sidebar") },
      element("div", { class: "brand" }, element("span", { class: "brand-mark" }, icon("flame", 20)), element("span", { class: "brand-name" }, "CodeHearth"),
        iconButton("close", t("nav.close"), () => this.close(), { class: "only-phone" })),
      this.places,
      element("div", { class: "list-head" },
        element("h2", {}, t("list.heading")),
        iconButton("more", t("list.more"), (event) => this.more(event.currentTarget), { size: 17, "aria-haspopup": "menu" }),
        iconButton("plus", `${t("list.new")} (Ctrl+Shift+O)`, () => this.begin(), { size: 18, class: "new-chat", "aria-label": t("list.new") })),
      element("div", { class: "list-search" }, icon("search", 16), this.search),
      this.list,
      element("div", { class: "sidebar-foot" }, controls),
      this.importer);
    while_viewed("conversations", settled(60, () => this.read()));
    while_viewed("conversation", () => this.mark());
    this.mark();
  }

  begin() {
    this.close();
    this.go("#/chat");
  }

  open() {
    this.node.classList.add("is-open");
  }

  close() {
    this.node.classList.remove("is-open");
  }

  focusSearch() {
    this.open();
    this.search.focus();
    this.search.select();
  }

  mark() {
    const here = this.place();
    fill(this.places, PLACES.map(([name, sign]) => element("a", {
      href: `#/${name}`, class: "place", "aria-current": here.name === name ? "page" : null, onclick: () => this.close(),
    }, icon(sign), element("span", {}, t(`nav.${name}`)))));
    for (const row of this.list.querySelectorAll(".conversation")) {
      const is_here = row.dataset.id === here.id;
      row.classList.toggle("is-current", is_here);
      if (is_here) row.firstChild.setAttribute("aria-current", "page");
      else row.firstChild.removeAttribute("aria-current");
    }
  }

  async read() {
    if (this.search.value.trim()) return;
    try {
      const { conversations, next } = await get(`/hearth/conversations?limit=${PAGE_SIZE}`);
      this.conversations = conversations;
      this.next = next;
      this.show();
    } catch (error) {
      fill(this.list, element("p", { class: "faint centred" }, words_of(error).title));
    }
  }

  async readMore() {
    const { conversations, next } = await get(`/hearth/conversations?limit=${PAGE_SIZE}&after=${encodeURIComponent(this.next)}`);
    this.conversations = [...this.conversations, ...conversations];
    this.next = next;
    this.show();
  }

  show() {
    fill(this.list,
      [...by_day(this.conversations)].map(([day, conversations]) => element("section", { "aria-label": day },
        element("h3", { class: "group-title" }, day), conversations.map((one) => this.row(one)))),
      this.conversations.length === 0 && element("p", { class: "faint centred" }, t("list.empty")),
      this.next && element("button", { type: "button", class: "button is-small earlier", onclick: () => this.readMore() }, t("list.older")));
    this.mark();
  }

  row(conversation, snippet) {
    const title = conversation.title || t("list.untitled");
    return element("div", { class: "conversation", dataset: { id: conversation.id } },
      element("a", { href: `#/chat/${encodeURIComponent(conversation.id)}`, title, onclick: () => this.close() },
        element("span", { class: "conversation-title" }, title),
        snippet && element("span", { class: "snippet" }, snippet)),
      iconButton("more", t("list.actions", { title }), (event) => this.menu(event.currentTarget, conversation), { size: 16, "aria-haspopup": "menu" }));
  }

  async find() {
    const asked = this.search.value.trim();
    if (!asked) {
      this.read();
      return;
    }
    try {
      const { results } = await get(`/hearth/conversations/search?limit=40&q=${encodeURIComponent(asked)}`);
      if (this.search.value.trim() !== asked) return;
      fill(this.list,
        element("p", { class: "group-title", role: "status" }, t_count("list.found", results.length)),
        results.map(({ conversation, snippet }) => this.row(conversation, snippet)));
      this.mark();
    } catch (error) {
      fill(this.list, element("p", { class: "faint centred" }, words_of(error).title));
    }
  }

  onKey(event) {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    this.search.value = "";
    this.read();
  }

  menu(button, conversation) {
    show_menu(button, [
      { label: t("list.rename"), icon: "edit", act: () => this.attempt(() => this.rename(conversation)) },
      { label: t("list.export_markdown"), icon: "download", act: () => this.attempt(() => this.export(conversation, "markdown")) },
      { label: t("list.export_json"), icon: "download", act: () => this.attempt(() => this.export(conversation, "json")) },
      { label: t("list.delete"), icon: "trash", is_danger: true, act: () => this.attempt(() => this.delete(conversation)) },
    ]);
  }

  more(button) {
    show_menu(button, [
      { label: t("list.import"), icon: "upload", act: () => this.importer.click() },
      { label: t("list.export_all"), icon: "download", act: () => this.attempt(() => this.exportAll()) },
      { label: t("list.delete_all"), icon: "trash", is_danger: true, act: () => this.attempt(() => this.deleteAll()) },
    ]);
  }

  async attempt(work) {
    try {
      await work();
    } catch (error) {
      note_error(error);
    }
  }

  async rename(conversation) {
    const title = await asked_text(t("list.rename"), t("list.title"), conversation.title);
    if (title === undefined) return;
    await patch(path_of(conversation.id), { title });
    changed("conversations");
  }

  async export(conversation, format) {
    const text = await get_text(`${path_of(conversation.id)}/export?format=${format}`);
    const name = (conversation.title || "chat").replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 60);
    const [extension, type] = format === "json" ? ["json", "application/json"] : ["md", "text/markdown"];
    save_file(`${name}.${extension}`, text, type);
  }

  async exportAll() {
    save_file("codehearth-conversations.json", await get_text("/hearth/conversations/export"), "application/json");
  }

  async import() {
    const [file] = this.importer.files;
    this.importer.value = "";
    if (!file) return;
    await this.attempt(async () => {
      const type = file.name.endsWith(".json") ? "application/json" : "text/markdown";
      const { imported } = await post("/hearth/conversations/import", await file.text(), { type });
      note(t_count("list.imported", imported));
      changed("conversations");
    });
  }

  async delete(conversation) {
    const title = conversation.title || t("list.untitled");
    if (!(await confirmed(t("list.delete.title"), t("list.delete.text", { title }), t("list.delete")))) return;
    await remove(path_of(conversation.id));
    forget_conversation(conversation.id);
    if (this.place().id === conversation.id) this.go("#/chat");
    changed("conversations");
  }

  async deleteAll() {
    if (!(await confirmed(t("list.delete_all"), t("list.delete_all.text"), t("list.delete_all")))) return;
    await remove("/hearth/conversations");
    this.go("#/chat");
    changed("conversations");
  }
}

function by_day(conversations) {
  const days = new Map();
  for (const one of conversations) {
    const day = format_day(one.updated_at);
    days.set(day, [...(days.get(day) ?? []), one]);
  }
  return days;
}
