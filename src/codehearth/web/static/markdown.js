// Markdown to elements, as it arrives.
//
// What a model wrote never becomes HTML: blocks and inline marks are parsed here, elements are
// made one by one, and whatever is no Markdown stays text, tags included. Links go to http, https
// and mailto only. Pictures are shown as links: the page asks nobody but its own server.
//
// While an answer streams, only its last block is made anew for each update; finished blocks are
// never touched again, so a long answer costs no more per update than a short one.

import { CodeBlock } from "./code_block.js";
import { element } from "./dom.js";

const FENCE = /^( {0,3})(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?\s*#*\s*$/;
const RULE = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(\s+|$)/;
const DELIMITER_ROW = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/** Shows a growing Markdown text inside `root`. */
export class MarkdownView {
  constructor(root) {
    this.root = root;
    this.shown = []; // {kind, source, node, code}
    this.text = "";
    this.num_stable_lines = 0;
    this.num_stable_blocks = 0;
  }

  /** Shows `text`; while it only grows, what was shown before stays as it is. */
  update(text) {
    if (text === this.text) return;
    if (!text.startsWith(this.text)) this.clear();
    this.text = text;
    const lines = text.split("\n").slice(this.num_stable_lines);
    const blocks = split_blocks(lines);
    blocks.forEach((block, index) => this.show(this.num_stable_blocks + index, block));
    for (const gone of this.shown.splice(this.num_stable_blocks + blocks.length)) gone.node.remove();
    if (blocks.length > 1) {
      this.num_stable_blocks += blocks.length - 1;
      this.num_stable_lines += blocks.at(-1).first_line;
    }
  }

  clear() {
    this.root.textContent = "";
    this.shown = [];
    this.text = "";
    this.num_stable_lines = 0;
    this.num_stable_blocks = 0;
  }

  show(index, block) {
    const before = this.shown[index];
    if (before && before.source === block.source && before.kind === block.kind) return;
    if (before?.code && block.kind === "code" && before.info === block.info) {
      before.code.update(block.code);
      before.source = block.source;
      return;
    }
    const made = shown_block(block);
    if (before) before.node.replaceWith(made.node);
    else this.root.append(made.node);
    this.shown[index] = made;
  }
}

/** A whole Markdown text as elements. */
export function markdown(text) {
  const root = element("div", { class: "markdown" });
  new MarkdownView(root).update(text);
  return root;
}

function shown_block(block) {
  const shown = { kind: block.kind, source: block.source, info: block.info };
  if (block.kind === "code") {
    shown.code = new CodeBlock(block.info);
    shown.code.update(block.code);
    shown.node = shown.code.node;
  } else {
    shown.node = block_node(block);
  }
  return shown;
}

/** The blocks of lines: `{kind, first_line, source, …}`. Blank lines between blocks are dropped. */
export function split_blocks(lines) {
  const blocks = [];
  let number = 0;
  while (number < lines.length) {
    if (!lines[number].trim()) {
      number++;
      continue;
    }
    const block = block_at(lines, number);
    block.first_line = number;
    block.source = lines.slice(number, block.end).join("\n");
    blocks.push(block);
    number = block.end;
  }
  return blocks;
}

function block_at(lines, number) {
  const line = lines[number];
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, number, fence);
  const heading = HEADING.exec(line);
  if (heading) return { kind: "heading", level: heading[1].length, text: heading[2] ?? "", end: number + 1 };
  if (RULE.test(line)) return { kind: "rule", end: number + 1 };
  if (QUOTE.test(line)) return quoted(lines, number);
  if (ITEM.test(line) && indent_of(line) < 4) return list_at(lines, number);
  if (line.includes("|") && DELIMITER_ROW.test(lines[number + 1] ?? "")) return table_at(lines, number);
  if (/^(?: {4}|\t)/.test(line)) return indented(lines, number);
  return paragraph(lines, number);
}

const indent_of = (line) => line.length - line.trimStart().length;

function fenced(lines, number, [, indent, mark, info]) {
  const code = [];
  let end = number + 1;
  const closing = new RegExp(`^ {0,3}\\${mark[0]}{${mark.length},}\\s*$`);
  const outdent = new RegExp(`^ {0,${indent.length}}`);
  for (; end < lines.length; end++) {
    if (closing.test(lines[end])) {
      return { kind: "code", info: info.trim(), code: code.join("\n"), end: end + 1 };
    }
    code.push(lines[end].replace(outdent, ""));
  }
  if (code.at(-1) === "") code.pop(); // the line that is about to be written
  return { kind: "code", info: info.trim(), code: code.join("\n"), end };
}

function indented(lines, number) {
  let end = number;
  while (end < lines.length && (/^(?: {4}|\t)/.test(lines[end]) || !lines[end].trim())) end++;
  while (!lines[end - 1].trim()) end--;
  const code = lines.slice(number, end).map((line) => line.replace(/^(?: {4}|\t)/, ""));
  return { kind: "code", info: "", code: code.join("\n"), end };
}

function quoted(lines, number) {
  let end = number;
  while (end < lines.length && lines[end].trim() && (QUOTE.test(lines[end]) || !begins_block(lines, end))) end++;
  return { kind: "quote", lines: lines.slice(number, end).map((line) => line.replace(QUOTE, "")), end };
}

function begins_block(lines, number) {
  const line = lines[number];
  return (
    FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) ||
    (ITEM.test(line) && indent_of(line) < 4 && /\S/.test(line.replace(ITEM, "")) && !/^\s*\d+/.test(line.replace(/^\s*1[.)]/, "")))
  );
}

function paragraph(lines, number) {
  let end = number + 1;
  while (end < lines.length && lines[end].trim() && !begins_block(lines, end)) {
    if (lines[end].includes("|") && DELIMITER_ROW.test(lines[end + 1] ?? "")) break;
    end++;
  }
  return { kind: "paragraph", text: lines.slice(number, end).map((line) => line.trimStart()).join("\n"), end };
}

function list_at(lines, number) {
  const first = ITEM.exec(lines[number]);
  const is_ordered = /\d/.test(first[2]);
  const mark = first[2].slice(-1);
  const items = [];
  let is_loose = false;
  let end = number;
  while (end < lines.length) {
    const found = ITEM.exec(lines[end]);
    if (!found || found[2].slice(-1) !== mark || /\d/.test(found[2]) !== is_ordered || RULE.test(lines[end])) break;
    const item = item_at(lines, end, found);
    items.push(item);
    let next = item.end;
    while (next < lines.length && !lines[next].trim()) next++;
    const again = ITEM.exec(lines[next] ?? "");
    const goes_on = again && indent_of(lines[next]) <= indent_of(lines[number]) + 1 && again[2].slice(-1) === mark;
    is_loose ||= item.is_loose || (goes_on && next > item.end);
    end = goes_on ? next : item.end;
    if (!goes_on) break;
  }
  return { kind: "list", is_ordered, start: parseInt(first[2], 10), items, is_loose, end };
}

function item_at(lines, number, found) {
  const padding = found[3].length > 4 || !found[3] ? 1 : found[3].length;
  const width = found[1].length + found[2].length + padding;
  const content = [lines[number].slice(Math.min(width, lines[number].length))];
  let end = number + 1;
  let is_loose = false;
  while (end < lines.length) {
    const line = lines[end];
    if (!line.trim()) {
      let next = end;
      while (next < lines.length && !lines[next].trim()) next++;
      if (next >= lines.length || indent_of(lines[next]) < Math.min(width, 2)) break;
      if (ITEM.test(lines[next]) && indent_of(lines[next]) < Math.min(width, 2)) break;
      is_loose ||= !ITEM.test(lines[next]);
      while (end < next) {
        content.push("");
        end++;
      }
      continue;
    }
    const indent = indent_of(line);
    if (indent < Math.min(width, 2) && (ITEM.test(line) || begins_block(lines, end))) break;
    if (indent < Math.min(width, 2) && content.at(-1) === "") break;
    content.push(line.slice(Math.min(indent, width)));
    end++;
  }
  return { lines: content, is_loose, end };
}

function table_at(lines, number) {
  const marks = cells_of(lines[number + 1]);
  const align = marks.map((cell) =>
    cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "");
  let end = number + 2;
  while (end < lines.length && lines[end].includes("|") && lines[end].trim()) end++;
  return { kind: "table", head: cells_of(lines[number]), align, rows: lines.slice(number + 2, end).map(cells_of), end };
}

function cells_of(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function block_node(block) {
  switch (block.kind) {
    case "heading":
      // One level for all: an answer has no say in the order of the page's own headings.
      return element("h3", { class: `h${block.level}` }, inline(block.text));
    case "rule":
      return element("hr");
    case "quote":
      return element("blockquote", {}, nodes_of(block.lines));
    case "list":
      return list_node(block);
    case "table":
      return table_node(block);
    default:
      return element("p", {}, inline(block.text));
  }
}

const nodes_of = (lines) => split_blocks(lines).map((block) => shown_block(block).node);

function list_node({ is_ordered, start, items, is_loose }) {
  const properties = is_ordered && start !== 1 ? { start } : {};
  return element(is_ordered ? "ol" : "ul", properties, items.map((item) => item_node(item, is_loose)));
}

function item_node({ lines }, is_loose) {
  const task = /^\[([ xX])\]\s+/.exec(lines[0]);
  const rest = task ? [lines[0].slice(task[0].length), ...lines.slice(1)] : lines;
  const blocks = split_blocks(rest).map((block) =>
    block.kind === "paragraph" && !is_loose ? inline(block.text) : shown_block(block).node);
  const box = task && element("span", { class: "task", "aria-hidden": "true" }, task[1] === " " ? "☐ " : "☑ ");
  return element("li", { class: task ? "task-item" : null }, box, blocks);
}

function table_node({ head, align, rows }) {
  const cell = (tag, text, column) =>
    element(tag, { class: align[column] || null, scope: tag === "th" ? "col" : null }, inline(text ?? ""));
  return element(
    "div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": head.join(", ").slice(0, 80) || "table" },
    element("table", {},
      element("thead", {}, element("tr", {}, head.map((text, column) => cell("th", text, column)))),
      element("tbody", {}, rows.map((row) =>
        element("tr", {}, head.map((_, column) => cell("td", row[column], column)))))),
  );
}

const ESCAPED = /\\([!-/:-@[-`{-~])/y;
const CODE = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/y;
const LINK = /!?\[((?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\]\(\s*<?([^\s<>()]*(?:\([^\s()]*\)[^\s<>()]*)*)>?(?:\s+["'(][^"')]*["')])?\s*\)/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]+)>/y;
const BARE = /https?:\/\/[^\s<>"'`，。；：！？（）【】]+[^\s<>"'`.,;:!?)\]，。；：！？（）【】]/y;
const MARKS = [
  ["strong", /\*\*(?=\S)((?:[^*\\]|\\.|\*(?!\*))*?[^\s\\])\*\*/y],
  ["strong", /__(?=\S)((?:[^_\\]|\\.|_(?!_))*?[^\s\\])__(?!\w)/y],
  ["em", /\*(?=[^\s*])((?:[^*\\]|\\.|\*\*[^*]*\*\*)*?[^\s*\\])\*(?!\*)/y],
  ["em", /_(?=[^\s_])((?:[^_\\]|\\.)*?[^\s_\\])_(?!\w)/y],
  ["del", /~~(?=\S)([\s\S]*?\S)~~/y],
];
const PLAIN = /[^\\`!\[<*_~h\n]+/y;

/** The inline nodes of a text: code, links, emphasis and text. */
export function inline(text) {
  const nodes = [];
  let position = 0;
  let plain = "";
  const take = (pattern) => {
    pattern.lastIndex = position;
    return pattern.exec(text);
  };
  const push = (node, length) => {
    if (plain) nodes.push(plain);
    plain = "";
    nodes.push(node);
    position += length;
  };
  while (position < text.length) {
    const run = take(PLAIN);
    if (run) {
      plain += run[0];
      position += run[0].length;
      continue;
    }
    const character = text[position];
    let found;
    if (character === "\n") {
      if (/ {2,}$/.test(plain)) push(element("br"), 1);
      else { plain += "\n"; position++; }
    } else if (character === "\\" && (found = take(ESCAPED))) {
      plain += found[1];
      position += 2;
    } else if (character === "`" && (found = take(CODE))) {
      push(element("code", {}, found[2].replace(/^ (.*) $/s, "$1")), found[0].length);
    } else if ("![".includes(character) && (found = take(LINK))) {
      push(link(found[2], found[1] || found[2]), found[0].length);
    } else if (character === "<" && (found = take(AUTOLINK))) {
      push(link(found[1], null), found[0].length);
    } else if (character === "h" && !/\w$/.test(plain) && (found = take(BARE))) {
      push(link(found[0], null), found[0].length);
    } else if ("*_~".includes(character) && (found = marked(take, plain, character))) {
      push(element(found.tag, {}, inline(found.inner)), found.length);
    } else {
      plain += character;
      position++;
    }
  }
  if (plain) nodes.push(plain);
  return nodes;
}

function marked(take, plain, character) {
  if (character === "_" && /\w$/.test(plain)) return null;
  for (const [tag, pattern] of MARKS) {
    const found = take(pattern);
    if (found) return { tag, inner: found[1], length: found[0].length };
  }
  return null;
}

function link(address, text) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return text === null ? address : element("span", {}, inline(text));
  const inside = text === null ? address : text === address ? text : inline(text);
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, inside);
}
