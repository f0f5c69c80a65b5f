// Colours for code: one small tokenizer that works line by line, and a table of languages.
//
// A line is coloured from the state in which the line before it ended (inside a comment, inside a
// long string), so code that is still being written costs only its new lines. It is meant to be
// quick and good enough to read; it does not know any language's whole grammar.

const words = (text) => new Set(text.split(" "));

const C_LIKE = { line: ["//"], block: [["/*", "*/"]], strings: ['"', "'"] };

const C_WORDS =
  "auto break case char const continue default do double else enum extern float for goto if inline int long register return short signed sizeof static struct switch typedef union unsigned void volatile while";
const CPP_WORDS = `${C_WORDS} alignas alignof and bool catch class co_await co_return co_yield concept const_cast consteval constexpr decltype delete dynamic_cast explicit export final friend mutable namespace new noexcept not operator or override private protected public requires static_cast template this thread_local throw try typeid typename using virtual wchar_t`;
const JS_WORDS =
  "as async await break case catch class const continue debugger default delete do else export extends finally for from function get if import in instanceof let new of return set static super switch this throw try typeof var void while with yield";
const TS_WORDS = `${JS_WORDS} abstract any asserts bigint boolean declare enum implements infer interface is keyof namespace never number object override private protected public readonly satisfies string symbol type unique unknown`;

const LANGUAGES = {
  python: {
    line: ["#"], long: ['"""', "'''"], strings: ['"', "'"], prefix: /[rbfuRBFU]{1,2}(?=["'])/y,
    meta: /@[\w.]+/y,
    keywords: words("and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return try while with yield"),
    constants: words("True False None self cls"),
  },
  javascript: { ...C_LIKE, long: ["`"], keywords: words(JS_WORDS), constants: words("true false null undefined NaN Infinity"), regex: true },
  typescript: { ...C_LIKE, long: ["`"], meta: /@\w+/y, keywords: words(TS_WORDS), constants: words("true false null undefined NaN Infinity"), regex: true },
  c: { ...C_LIKE, meta: /#\s*\w+/y, keywords: words(C_WORDS), constants: words("NULL true false stdin stdout stderr") },
  cpp: { ...C_LIKE, meta: /#\s*\w+/y, keywords: words(CPP_WORDS), constants: words("nullptr true false NULL std") },
  csharp: {
    ...C_LIKE, meta: /#\w+/y, prefix: /[$@]{1,2}(?=")/y,
    keywords: words("abstract as async await base bool break byte case catch char checked class const continue decimal default delegate do double else enum event explicit extern finally fixed float for foreach get if implicit in init int interface internal is lock long namespace new object operator out override params private protected public readonly record ref required return sbyte sealed set short sizeof static string struct switch this throw try typeof uint ulong unsafe ushort using var virtual void volatile when where while yield"),
    constants: words("true false null value"),
  },
  java: {
    ...C_LIKE, long: ['"""'], meta: /@\w+/y,
    keywords: words("abstract assert boolean break byte case catch char class const continue default do double else enum extends final finally float for if implements import instanceof int interface long native new package permits private protected public record return sealed short static strictfp super switch synchronized this throw throws transient try var void volatile while yield"),
    constants: words("true false null"),
  },
  kotlin: {
    ...C_LIKE, long: ['"""'], meta: /@\w+/y,
    keywords: words("abstract actual annotation as break by catch class companion const constructor continue crossinline data do else enum expect external final finally for fun get if import in infix init inline inner interface internal is lateinit noinline object open operator out override package private protected public reified return sealed set super suspend tailrec this throw try typealias val var vararg when where while"),
    constants: words("true false null it"),
  },
  scala: {
    ...C_LIKE, long: ['"""'], meta: /@\w+/y,
    keywords: words("abstract case catch class def do else enum extends final finally for given if implicit import lazy match new object override package private protected return sealed super then this throw trait try type using val var while with yield"),
    constants: words("true false null None Some Nil"),
  },
  go: {
    ...C_LIKE, long: ["`"],
    keywords: words("break case chan const continue default defer else fallthrough for func go goto if import interface map package range return select struct switch type var"),
    constants: words("true false nil iota append cap close copy delete len make new panic print println recover"),
    types: words("bool byte complex64 complex128 error float32 float64 int int8 int16 int32 int64 rune string uint uint8 uint16 uint32 uint64 uintptr any"),
  },
  rust: {
    ...C_LIKE, strings: ['"'], quote: /'(?:\\.[^']*|[^'\\])'/y, meta: /#!?\[[^\]]*\]?|'[a-z_]\w*/y, prefix: /[rb]{1,2}#*(?=")/y,
    keywords: words("as async await break const continue crate dyn else enum extern fn for if impl in let loop match mod move mut pub ref return self static struct super trait type unsafe use where while"),
    constants: words("true false None Some Ok Err Self"),
    types: words("bool char f32 f64 i8 i16 i32 i64 i128 isize str u8 u16 u32 u64 u128 usize"),
    macro: true,
  },
  swift: {
    ...C_LIKE, long: ['"""'], strings: ['"'], meta: /[@#]\w+/y,
    keywords: words("actor any as associatedtype async await break case catch class continue default defer deinit do else enum extension fallthrough fileprivate for func get guard if import in init inout internal is lazy let mutating nonisolated open operator override private protocol public repeat required rethrows return self set some static struct subscript super switch throw throws try typealias unowned var weak where while"),
    constants: words("true false nil Self"),
  },
  dart: {
    ...C_LIKE, long: ['"""', "'''"], meta: /@\w+/y,
    keywords: words("abstract as assert async await base break case catch class const continue covariant default deferred do dynamic else enum export extends extension external factory final finally for Function get hide if implements import in interface is late library mixin new on operator part required rethrow return sealed set show static super switch sync this throw try typedef var void when while with yield"),
    constants: words("true false null"),
  },
  php: {
    ...C_LIKE, line: ["//", "#"], variable: /\$\w+/y, meta: /<\?php|\?>/y,
    keywords: words("abstract and array as break callable case catch class clone const continue declare default do echo else elseif empty enum extends final finally fn for foreach function global goto if implements include include_once instanceof insteadof interface isset list match namespace new or print private protected public readonly require require_once return static switch throw trait try unset use var while yield"),
    constants: words("true false null TRUE FALSE NULL self parent"),
  },
  ruby: {
    line: ["#"], block: [["=begin", "=end"]], strings: ['"', "'", "`"], variable: /@{1,2}\w+|\$\w+|:\w+\??(?!:)/y,
    keywords: words("alias and begin break case class def defined? do else elsif end ensure extend for if in include module next not or private protected public raise redo rescue retry return self super then undef unless until when while yield require require_relative attr_accessor attr_reader attr_writer"),
    constants: words("true false nil"),
  },
  perl: {
    line: ["#"], strings: ['"', "'"], variable: /[$@%]\w+/y,
    keywords: words("and cmp continue do else elsif eq for foreach ge gt if last le local lt my ne next no not or our package print redo require return say sub unless until use while"),
    constants: words("undef __PACKAGE__"),
  },
  lua: {
    line: ["--"], block: [["--[[", "]]"]], long: [["[[", "]]"]], strings: ['"', "'"],
    keywords: words("and break do else elseif end for function goto if in local not or repeat return then until while"),
    constants: words("true false nil self"),
  },
  r: {
    line: ["#"], strings: ['"', "'"],
    keywords: words("break else for function if in next repeat return while library require"),
    constants: words("TRUE FALSE NULL NA NaN Inf T F"),
  },
  julia: {
    line: ["#"], block: [["#=", "=#"]], long: ['"""'], strings: ['"'], meta: /@\w+/y,
    keywords: words("abstract baremodule begin break catch const continue do else elseif end export finally for function global if import in let local macro module mutable primitive quote return struct try type using where while"),
    constants: words("true false nothing missing Inf NaN pi"),
  },
  haskell: {
    line: ["--"], block: [["{-", "-}"]], strings: ['"'], meta: /\{-#.*?#-\}/y,
    keywords: words("case class data default deriving do else foreign forall if import in infix infixl infixr instance let module newtype of qualified then type where"),
    constants: words("True False Nothing Just Left Right"),
  },
  elixir: {
    line: ["#"], long: ['"""'], strings: ['"', "'"], variable: /:\w+|@\w+/y,
    keywords: words("after alias and case catch cond def defmacro defmodule defp defstruct do else end fn for if import in not or quote raise receive require rescue try unless unquote use when with"),
    constants: words("true false nil"),
  },
  bash: {
    line: ["#"], strings: ['"'], long: ["'"], variable: /\$(?:\w+|\{[^}]*\}|[?#@*!$-])/y,
    keywords: words("case do done elif else esac export fi for function if in local readonly return select set shift source then trap unset until while"),
    constants: words("cd echo printf read exit test true false cat grep sed awk find xargs curl git sudo mkdir rm cp mv ls chmod chown tar docker make pip npm"),
    is_shell: true,
  },
  powershell: {
    line: ["#"], block: [["<#", "#>"]], strings: ['"', "'"], variable: /\$[\w:]+/y, any_case: true,
    keywords: words("begin break catch class continue do dynamicparam else elseif end exit filter finally for foreach function if in param process return switch throw trap try until using while"),
    constants: words("$true $false $null"),
  },
  sql: {
    line: ["--"], block: [["/*", "*/"]], strings: ["'", '"'], any_case: true,
    keywords: words("add all alter and as asc begin between by cascade case check column commit constraint create cross database default delete desc distinct drop else end except exists explain foreign from full function grant group having if in index inner insert intersect into is join key left like limit materialized merge natural not of offset on or order outer over partition primary procedure recursive references replace returning right rollback row rows select set table then transaction trigger truncate union unique update using values view when where window with"),
    constants: words("null true false current_date current_timestamp"),
    types: words("bigint binary blob boolean char date datetime decimal double float int integer json jsonb numeric real serial smallint text time timestamp uuid varchar"),
  },
  json: { line: ["//"], block: [["/*", "*/"]], strings: ['"'], constants: words("true false null"), key: /"(?:[^"\\]|\\.)*"(?=\s*:)/y },
  yaml: { line: ["#"], strings: ['"', "'"], any_case: true, constants: words("true false null yes no on off"), key: /[\w.$/-]+(?=\s*:(?:\s|$))/y, variable: /[&*!]\w+/y, meta: /^---|^\.\.\./y },
  toml: { line: ["#"], long: ['"""', "'''"], strings: ['"', "'"], constants: words("true false inf nan"), key: /[\w.-]+(?=\s*=)/y, meta: /^\s*\[.*\]/y },
  ini: { line: ["#", ";"], strings: ['"'], key: /^\s*[\w.-]+(?=\s*[=:])/y, meta: /^\s*\[.*\]/y },
  css: { block: [["/*", "*/"]], line: [], strings: ['"', "'"], key: /[\w-]+(?=\s*:[^:])/y, meta: /@[\w-]+|#[0-9a-fA-F]{3,8}\b/y, variable: /--[\w-]+|\.[a-zA-Z][\w-]*/y, constants: words("important inherit initial none auto var calc") },
  dockerfile: {
    line: ["#"], strings: ['"', "'"], variable: /\$(?:\w+|\{[^}]*\})/y,
    keywords: words("ADD ARG AS CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR"),
  },
  makefile: { line: ["#"], strings: ['"', "'"], variable: /\$(?:\([^)]*\)|\{[^}]*\}|[@<^?*%])/y, key: /^[\w./%-]+(?=\s*:(?!=))|^[\w-]+(?=\s*[:?+]?=)/y, keywords: words("define else endef endif export ifdef ifeq ifndef ifneq include override unexport"), meta: /^\.[A-Z_]+/y },
  latex: { line: ["%"], strings: [], keywords: words(""), meta: /\\[a-zA-Z@]+\*?|\\./y, variable: /\$[^$]*\$/y },
  graphql: { line: ["#"], long: ['"""'], strings: ['"'], variable: /\$\w+|@\w+/y, keywords: words("directive enum extend fragment implements input interface mutation on query scalar schema subscription type union"), constants: words("true false null") },
  protobuf: { ...C_LIKE, keywords: words("enum extend extensions import message map oneof option optional package public repeated required reserved returns rpc service stream syntax to"), types: words("bool bytes double fixed32 fixed64 float int32 int64 sfixed32 sfixed64 sint32 sint64 string uint32 uint64"), constants: words("true false") },
  zig: { line: ["//"], strings: ['"', "'"], meta: /@\w+/y, keywords: words("align and anyframe asm break catch comptime const continue defer else enum errdefer error export extern fn for if inline noalias noinline nosuspend opaque or orelse packed pub resume return struct suspend switch test threadlocal try union unreachable usingnamespace var volatile while"), constants: words("true false null undefined"), types: words("bool f16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 usize isize void type anytype") },
  solidity: { ...C_LIKE, keywords: words("abstract address as assembly break case catch constant constructor continue contract delete do else emit enum error event external fallback for function if immutable import indexed interface internal is library mapping memory modifier new override payable pragma private public pure receive require return returns storage struct switch this throw try type unchecked using view virtual while"), types: words("bool bytes bytes32 int int256 string uint uint8 uint256"), constants: words("true false msg block tx") },
  objectivec: { ...C_LIKE, meta: /[@#]\w+/y, keywords: words(`${C_WORDS} id self super in out`), constants: words("YES NO nil NULL true false") },
  html: { markup: true },
  diff: { diff: true },
  text: { plain: true },
};

const ALIASES = {
  py: "python", python3: "python", pyi: "python", js: "javascript", jsx: "javascript", mjs: "javascript", node: "javascript",
  ts: "typescript", tsx: "typescript", h: "c", "c++": "cpp", cc: "cpp", hpp: "cpp", cxx: "cpp", "c#": "csharp", cs: "csharp",
  kt: "kotlin", golang: "go", rs: "rust", rb: "ruby", pl: "perl", sh: "bash", shell: "bash", zsh: "bash", console: "bash",
  "shell-session": "bash", ps1: "powershell", pwsh: "powershell", mysql: "sql", postgresql: "sql", sqlite: "sql", jsonc: "json",
  json5: "json", yml: "yaml", cfg: "ini", conf: "ini", properties: "ini", scss: "css", less: "css", docker: "dockerfile",
  make: "makefile", mk: "makefile", tex: "latex", xml: "html", svg: "html", vue: "html", svelte: "html", htm: "html",
  patch: "diff", plaintext: "text", txt: "text", "": "text", jl: "julia", hs: "haskell", ex: "elixir", exs: "elixir",
  proto: "protobuf", sol: "solidity", gql: "graphql", "objective-c": "objectivec", objc: "objectivec", m: "objectivec",
};

const NAMES = {
  cpp: "C++", csharp: "C#", javascript: "JavaScript", typescript: "TypeScript", php: "PHP", sql: "SQL", json: "JSON",
  yaml: "YAML", toml: "TOML", ini: "INI", css: "CSS", html: "HTML", latex: "LaTeX", r: "R", c: "C", graphql: "GraphQL",
  objectivec: "Objective-C", powershell: "PowerShell", dockerfile: "Dockerfile", makefile: "Makefile", text: "",
};

/** The name under which the table knows a language; "text" for one that it does not know. */
export function language_key(name) {
  const key = name.toLowerCase();
  const known = ALIASES[key] ?? key;
  return Object.hasOwn(LANGUAGES, known) ? known : "text";
}

/** A language's name as people write it; an unknown one keeps what the author wrote. */
export function language_name(name) {
  const key = language_key(name);
  if (key === "text") return name.slice(0, 24);
  return NAMES[key] ?? key[0].toUpperCase() + key.slice(1);
}

export const highlighted_languages = () => Object.keys(LANGUAGES);

const NUMBER = /0[xX][\da-fA-F_]+|0[bB][01_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?[a-zA-Z%]*/y;
const WORD = /[A-Za-z_\u00c0-\uffff][\w\u00c0-\uffff]*[?!]?/y;
const SPACE = /\s+/y;
const REGEX = /\/(?![*/\s])(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;

const at = (pattern, text, position) => {
  pattern.lastIndex = position;
  return pattern.exec(text)?.[0] ?? "";
};

/**
 * The tokens of one line as `[kind, text]`, and the state in which it ends.
 *
 * `state` is null or `{kind, close}`: what the line is inside of. Kinds are one-letter names of
 * CSS classes: k keyword, s string, c comment, n number, f function, t type, v constant,
 * m directive, a key or attribute, i inserted, d deleted; "" is plain.
 */
export function tokens_of_line(key, line, state) {
  const language = LANGUAGES[key];
  if (language.plain) return [[["", line]], null];
  if (language.diff) return [[[kind_of_diff_line(line), line]], null];
  if (language.markup) return tokens_of_markup(line, state);
  return tokens_of_code(language, line, state);
}

function kind_of_diff_line(line) {
  if (/^(\+\+\+|---|index |diff |@@)/.test(line)) return line.startsWith("@@") ? "m" : "c";
  if (line.startsWith("+")) return "i";
  return line.startsWith("-") ? "d" : "";
}

function tokens_of_code(language, line, state) {
  const tokens = [];
  let position = 0;
  let open = state;
  while (position < line.length || open) {
    if (open) {
      const end = end_of_long(line, position, open.close);
      tokens.push([open.kind, line.slice(position, end.position)]);
      position = end.position;
      if (!end.is_closed) return [tokens, open];
      open = null;
      continue;
    }
    const [kind, length, opened] = next_token(language, line, position, tokens);
    tokens.push([kind, line.slice(position, position + length)]);
    position += length;
    open = opened;
  }
  return [tokens, null];
}

function end_of_long(line, from, close) {
  for (let position = from; position < line.length; position++) {
    if (line[position] === "\\" && close !== "*/" && close !== "'") position++;
    else if (line.startsWith(close, position)) {
      return { position: position + close.length, is_closed: true };
    }
  }
  return { position: line.length, is_closed: false };
}

function next_token(language, line, position, before) {
  const space = at(SPACE, line, position);
  if (space) return ["", space.length, null];
  for (const [start, close] of language.block ?? []) {
    if (line.startsWith(start, position)) return ["c", start.length, { kind: "c", close }];
  }
  for (const start of language.line) {
    if (!line.startsWith(start, position)) continue;
    const is_inside_word = start === "#" && language.is_shell && /\S/.test(line[position - 1] ?? "");
    if (!is_inside_word) return ["c", line.length - position, null];
  }
  const fixed = [["a", language.key], ["m", language.meta], ["v", language.variable], ["s", language.quote]];
  for (const [kind, pattern] of fixed) {
    const found = pattern ? at(pattern, line, position) : "";
    if (found) return [kind, found.length, null];
  }
  const prefix = language.prefix ? at(language.prefix, line, position) : "";
  const string = string_at(language, line, position + prefix.length, prefix.length);
  if (string) return string;
  if (language.regex && may_begin_regex(before)) {
    const found = at(REGEX, line, position);
    if (found) return ["s", found.length, null];
  }
  const number = /\d/.test(line[position]) ? at(NUMBER, line, position) : "";
  if (number) return ["n", number.length, null];
  return word_at(language, line, position);
}

function string_at(language, line, position, num_before) {
  for (const mark of language.long ?? []) {
    const [start, close] = Array.isArray(mark) ? mark : [mark, mark];
    if (line.startsWith(start, position)) {
      return ["s", num_before + start.length, { kind: "s", close }];
    }
  }
  const quote = line[position];
  if (!(language.strings ?? []).includes(quote)) return null;
  let end = position + 1;
  while (end < line.length && line[end] !== quote) end += line[end] === "\\" ? 2 : 1;
  return ["s", num_before + Math.min(end + 1, line.length) - position, null];
}

function may_begin_regex(before) {
  const last = before.filter(([, text]) => text.trim()).at(-1);
  return !last || last[0] === "k" || /[=(,:[!&|?{};+]$/.test(last[1]);
}

function word_at(language, line, position) {
  const word = at(WORD, line, position);
  if (!word) return ["", 1, null];
  const plain = word.replace(/[?!]$/, "");
  const known = language.any_case ? plain.toLowerCase() : plain;
  const after = line[position + word.length];
  if (language.macro && word.endsWith("!")) return ["f", word.length, null];
  const length = plain.length;
  if (language.keywords?.has(known)) return ["k", length, null];
  if (language.constants?.has(known)) return ["v", length, null];
  if (language.types?.has(known)) return ["t", length, null];
  if (after === "(" || (word !== plain && line[position + length] === "(")) return ["f", length, null];
  return [/^[A-Z][a-zA-Z0-9]*[a-z]/.test(plain) ? "t" : "", length, null];
}

const TAG = /<\/?[A-Za-z][\w:.-]*|<![A-Za-z]+|\/?>/y;
const ATTRIBUTE = /[A-Za-z_:@][\w:.@-]*(?==)/y;
const QUOTED = /"[^"]*"?|'[^']*'?/y;

function tokens_of_markup(line, state) {
  const tokens = [];
  let position = 0;
  let open = state;
  while (position < line.length) {
    if (open?.close === "-->") {
      const end = line.indexOf("-->", position);
      const until = end < 0 ? line.length : end + 3;
      tokens.push(["c", line.slice(position, until)]);
      position = until;
      if (end >= 0) open = null;
      continue;
    }
    if (line.startsWith("<!--", position)) {
      open = { kind: "c", close: "-->" };
      continue;
    }
    const tag = at(TAG, line, position);
    const attribute = open ? at(ATTRIBUTE, line, position) : "";
    const quoted = open ? at(QUOTED, line, position) : "";
    const found = tag || attribute || quoted;
    tokens.push([tag ? "k" : attribute ? "a" : quoted ? "s" : "", found || line[position]]);
    position += found.length || 1;
    if (tag) open = tag.endsWith(">") ? null : { kind: "tag", close: ">" };
  }
  return [tokens, open];
}
