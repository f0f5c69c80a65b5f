// The languages that a completion may be asked in, by the names of the server's table, and how the
// highlighter knows them. Names that models were told in their tag lines stay as they are.

import { language_key } from "./highlight.js";

export const TAG_LANGUAGES = [
  "Python", "JavaScript", "TypeScript", "Java", "C", "C++", "C#", "Go", "Rust", "Kotlin", "Swift", "Scala", "Dart", "PHP", "Ruby", "Lua",
  "Perl", "R", "Julia", "Haskell", "OCaml", "Elixir", "Erlang", "Clojure", "Bash", "PowerShell", "SQL", "HTML", "CSS", "SCSS", "Vue", "Svelte",
  "JSON", "YAML", "TOML", "XML", "Markdown", "Makefile", "CMake", "Dockerfile", "Objective-C", "Fortran", "Pascal", "Zig", "Nim", "Groovy",
  "Solidity", "Protocol Buffers", "GraphQL", "MATLAB", "TeX", "Verilog", "VHDL", "Cuda", "Assembly", "F#", "Lisp", "Scheme", "Prolog", "HCL", "Nix", "Diff",
];

const KEYS = { "Protocol Buffers": "protobuf", TeX: "latex", Cuda: "cpp", HCL: "toml", Markdown: "text" };

/** What the highlighter calls the language. */
export const highlighted_as = (name) => KEYS[name] ?? language_key(name);
