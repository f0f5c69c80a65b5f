// Editors and clients: where their configuration goes and what it says. `{url}` is this server's
// address, `{model}` the chosen model, `{key}` what stands for the key.

export const CLIENTS = [
  { id: "curl", name: "curl", group: "script", language: "bash", uses: ["chat"], text:
`curl {url}/v1/chat/completions \\
  -H 'Content-Type: application/json' \\
  -H 'Authorization: Bearer {key}' \\
  -d '{"model": "{model}", "messages": [{"role": "user", "content": "Write a function that reverses a string"}]}'` },
  { id: "python", name: "Python (openai)", group: "script", language: "python", uses: ["chat"], text:
`from openai import OpenAI

client = OpenAI(base_url="{url}/v1", api_key="{key}")
answer = client.chat.completions.create(
    model="{model}",
    messages=[{"role": "user", "content": "Write a function that reverses a string"}],
)
print(answer.choices[0].message.content)` },
  { id: "javascript", name: "JavaScript (openai)", group: "script", language: "javascript", uses: ["chat"], text:
`import OpenAI from "openai";

const client = new OpenAI({ baseURL: "{url}/v1", apiKey: "{key}" });
const answer = await client.chat.completions.create({
  model: "{model}",
  messages: [{ role: "user", content: "Write a function that reverses a string" }],
});
console.log(answer.choices[0].message.content);` },
  { id: "continue", name: "Continue (VS Code, JetBrains)", group: "editor", file: "~/.continue/config.yaml", language: "yaml", uses: ["chat", "fim"], text:
`name: CodeHearth
version: 0.0.1
schema: v1
models:
  - name: CodeHearth
    provider: openai
    model: {model}
    apiBase: {url}/v1
    apiKey: {key}
    roles: [chat, edit, apply, autocomplete]` },
  { id: "zed", name: "Zed", group: "editor", file: "~/.config/zed/settings.json", language: "json", uses: ["chat"], text:
`{
  "language_models": {
    "openai_compatible": {
      "CodeHearth": {
        "api_url": "{url}/v1",
        "available_models": [{ "name": "{model}", "max_tokens": 8192 }]
      }
    }
  }
}` },
  { id: "minuet", name: "Neovim (minuet-ai)", group: "editor", file: "init.lua", language: "lua", uses: ["fim"], text:
`require("minuet").setup({
  provider = "openai_fim_compatible",
  provider_options = {
    openai_fim_compatible = {
      name = "CodeHearth",
      end_point = "{url}/v1/completions",
      model = "{model}",
      api_key = function() return "{key}" end,
      stream = true,
    },
  },
})` },
  { id: "llamavscode", name: "VS Code (llama.vscode)", group: "editor", file: "settings.json", language: "json", uses: ["fim"], needs: "/infill", text:
`{
  "llama-vscode.endpoint": "{url}",
  "llama-vscode.api_key": "{key}"
}` },
  { id: "llamavim", name: "Vim (llama.vim)", group: "editor", file: "~/.vimrc", language: "text", uses: ["fim"], needs: "/infill", text:
`let g:llama_config = {
  \\ 'endpoint': '{url}/infill',
  \\ 'api_key': '{key}',
  \\ }` },
  { id: "claude", name: "Claude Code", group: "agent", language: "bash", uses: ["messages"], text:
`export ANTHROPIC_BASE_URL={url}
export ANTHROPIC_AUTH_TOKEN={key}
claude --model {model}` },
  { id: "codex", name: "Codex CLI", group: "agent", file: "~/.codex/config.toml", language: "toml", uses: ["responses"], text:
`model = "{model}"
model_provider = "codehearth"

[model_providers.codehearth]
name = "CodeHearth"
base_url = "{url}/v1"
wire_api = "responses"` },
  { id: "aider", name: "aider", group: "agent", language: "bash", uses: ["chat"], text:
`export OPENAI_API_BASE={url}/v1
export OPENAI_API_KEY={key}
aider --model openai/{model}` },
];
