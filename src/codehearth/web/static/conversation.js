// One conversation: a tree of messages, the branch that is shown, and the answers that are being
// written. It outlives its view: an answer goes on while another conversation is looked at.

import { Refused, events, get, patch, post, remove } from "./api.js";
import { changed, first_parameters, page, preferred_model } from "./page.js";

const RETRY_MS = 1000;

/** Where the server has a conversation; the id may come from the address, so it is escaped. */
export const path_of = (id) => `/hearth/conversations/${encodeURIComponent(id)}`;

/** Conversations that were opened in this page, by id. */
const opened = new Map();

export class Conversation {
  /** `id` null: a new one, which the server learns of with its first message. */
  constructor() {
    this.id = null;
    this.title = "";
    this.messages = new Map();
    this.leaf_id = null;
    this.updated_at = 0;
    this.running = new Map(); // message id -> {status, why}
    this.is_reconnecting = false;
    this.listeners = new Set();
    this.model = preferred_model();
    this.system_prompt = page.preferences.system_prompt ?? "";
    this.parameters = { ...first_parameters(), ...page.preferences.parameters };
    this.max_turns = page.preferences.max_turns ?? null;
  }

  /** Tells views what changed: "branch", "message" (with its id), "settings", "running", "gone". */
  tell(what, id) {
    for (const listener of this.listeners) listener(what, id);
  }

  take(data) {
    const { id, title, model, system_prompt, max_turns, leaf_id, updated_at } = data;
    Object.assign(this, { id, title, system_prompt, max_turns, leaf_id, updated_at });
    this.model = model ?? this.model;
    this.parameters = { ...first_parameters(), ...data.parameters };
    if (data.messages) this.messages = new Map(data.messages.map((message) => [message.id, message]));
    opened.set(id, this);
  }

  /** The messages that are shown, oldest first. */
  branch() {
    const shown = [];
    let message = this.messages.get(this.leaf_id);
    while (message) {
      shown.unshift(message);
      message = this.messages.get(message.parent_id);
    }
    return shown;
  }

  /** The alternatives to a message, itself among them, oldest first. */
  siblings(message) {
    return [...this.messages.values()]
      .filter((other) => other.parent_id === message.parent_id && other.role === message.role)
      .sort((a, b) => a.created_at - b.created_at);
  }

  get is_running() {
    return this.running.size > 0;
  }

  last_answer() {
    return this.branch().filter((message) => message.role === "assistant").at(-1);
  }

  async change(values) {
    Object.assign(this, values);
    this.tell("settings");
    if (this.id) await patch(path_of(this.id), values);
  }

  async show_branch_of(message_id) {
    const { leaf_id } = await post(`${path_of(this.id)}/branch`, { message_id });
    this.leaf_id = leaf_id;
    this.tell("branch");
  }

  /**
   * Asks for an answer; `body` is the request of `POST …/answers`.
   *
   * Throws where the server refused: then nothing was changed, and the caller keeps the draft.
   * Resolves with the answer's id as soon as the server has both messages; the answer then goes
   * on by itself.
   */
  async ask(body) {
    const is_new = !this.id;
    if (is_new) await this.create();
    const stream = events(`${path_of(this.id)}/answers`, { model: this.model, ...body });
    try {
      return await this.begin(stream);
    } catch (error) {
      if (is_new) this.forget();
      throw error;
    }
  }

  /** Takes a conversation back that got no message. */
  forget() {
    remove(path_of(this.id)).catch(() => {});
    opened.delete(this.id);
    this.id = null;
  }

  async create() {
    const { model, system_prompt, parameters, max_turns } = this;
    const { messages: _, ...data } = await post("/hearth/conversations", { model, system_prompt, parameters, max_turns });
    this.take(data);
  }

  /** Reads a stream's first event, and leaves the rest to the background. */
  async begin(stream) {
    const first = await stream.next();
    if (first.done || first.value.name !== "start") throw new Refused(0, { code: "cut" });
    const { conversation, user_message, answer } = first.value.data;
    const { messages: _, ...data } = conversation;
    this.take(data);
    if (user_message) this.messages.set(user_message.id, user_message);
    this.messages.set(answer.id, answer);
    this.leaf_id = conversation.leaf_id ?? answer.id;
    this.running.set(answer.id, { status: "waiting", why: "" });
    this.tell("branch");
    changed("conversations");
    this.follow(stream, answer.id);
    return answer.id;
  }

  async follow(stream, id) {
    try {
      for await (const { name, data } of stream) {
        if (name === "status") Object.assign(this.running.get(id), { status: data.state, why: data.why ?? "" });
        else if (name === "delta") this.grow(id, data);
        else if (name === "end") return this.finish(data);
        this.tell("message", id);
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
    await this.reconnect(id);
  }

  grow(id, { content = "", reasoning = "" }) {
    const answer = this.messages.get(id);
    answer.content += content;
    answer.reasoning = (answer.reasoning ?? "") + reasoning;
    this.running.get(id).status = "writing";
  }

  finish({ answer, conversation }) {
    this.messages.set(answer.id, answer);
    this.running.delete(answer.id);
    if (conversation) {
      this.title = conversation.title;
      this.updated_at = conversation.updated_at;
    }
    this.tell("message", answer.id);
    this.tell("running");
    changed("conversations");
  }

  /** The connection broke while an answer was written: the server has it, or will say what it has. */
  async reconnect(id) {
    this.is_reconnecting = true;
    this.tell("message", id);
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      try {
        const data = await get(path_of(this.id));
        this.is_reconnecting = false;
        this.running.delete(id);
        this.take(data);
        this.attach();
        this.tell("branch");
        return;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (error.status === 404) {
          this.lose();
          return;
        }
      }
    }
  }

  /** The conversation was deleted meanwhile: nothing more will come of what was being written. */
  lose() {
    for (const id of this.running.keys()) Object.assign(this.messages.get(id), { state: "interrupted" });
    this.running.clear();
    this.is_reconnecting = false;
    opened.delete(this.id);
    this.tell("gone");
  }

  /** Goes on with what the server is writing: after a reload, or when another tab asked. */
  attach() {
    for (const message of this.messages.values()) {
      if (message.state !== "streaming" || this.running.has(message.id)) continue;
      this.running.set(message.id, { status: "waiting", why: "" });
      this.resume(message.id);
    }
  }

  async resume(id) {
    const stream = events(`${path_of(this.id)}/answers/${id}`);
    try {
      const first = await stream.next();
      if (!first.done) this.messages.set(id, first.value.data.answer);
      if (first.value?.data.answer.content) this.running.get(id).status = "writing";
      this.tell("message", id);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
    await this.follow(stream, id);
  }

  async stop() {
    await Promise.all([...this.running.keys()].map((id) =>
      post(`${path_of(this.id)}/answers/${id}/stop`).catch(() => {})));
  }

  /** Takes what other tabs changed meanwhile. */
  async refresh() {
    if (!this.id || this.is_running) return;
    const data = await get(path_of(this.id)).catch((error) => {
      if (error.status === 404) this.lose();
      throw error;
    });
    if (data.updated_at === this.updated_at && data.leaf_id === this.leaf_id) return;
    this.take(data);
    this.attach();
    this.tell("branch");
    this.tell("settings");
  }
}

/** A conversation of the server; the same object as long as the page lives. */
export async function open_conversation(id) {
  const known = opened.get(id);
  if (known) {
    known.refresh().catch(() => {});
    return known;
  }
  const data = await get(path_of(id));
  const conversation = opened.get(id) ?? new Conversation();
  conversation.take(data);
  conversation.attach();
  return conversation;
}

export const forget_conversation = (id) => opened.delete(id);
