// Drafts: what is written and attached in each conversation and was not sent yet. They live as long
// as the page and survive a reload; files only where the browser's store has room for them.

import { settled } from "./dom.js";

const drafts = new Map(); // name -> {text, files: [{name, text, is_pasted}]}
const unkept = new Set();

const name_of = (id) => id ?? "new";

/** The draft of a conversation, to be changed in place; `id` null is the next new one. */
export function draft_of(id) {
  const name = name_of(id);
  if (!drafts.has(name)) drafts.set(name, { text: stored(`hearth.draft.${name}`) ?? "", files: stored_files(name) });
  return drafts.get(name);
}

/** Keeps a draft as it is now, once nobody changed one for a moment. */
export function keep_draft(id) {
  unkept.add(name_of(id));
  keep_soon();
}

/** A new conversation got its id: the draft goes with it, at once, since the next one may be begun. */
export function move_draft(id) {
  drafts.set(id, draft_of(null));
  drafts.delete("new");
  unkept.add("new").add(id);
  keep_all();
}

const keep_soon = settled(200, keep_all);

function keep_all() {
  for (const name of unkept) {
    const { text, files } = drafts.get(name) ?? { text: "", files: [] };
    store(`hearth.draft.${name}`, text);
    store(`hearth.files.${name}`, files.length ? JSON.stringify(files) : "");
  }
  unkept.clear();
}

addEventListener("pagehide", keep_all);

function store(key, text) {
  try {
    if (text) localStorage.setItem(key, text);
    else localStorage.removeItem(key);
  } catch {
    // Full or closed: what stood there is older than the draft, so nothing stays rather than that.
    try { localStorage.removeItem(key); } catch { /* closed */ }
  }
}

function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function stored_files(name) {
  try {
    return JSON.parse(stored(`hearth.files.${name}`) ?? "[]");
  } catch {
    return [];
  }
}
