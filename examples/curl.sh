#!/bin/sh
# CodeHearth with curl alone. HEARTH_URL and HEARTH_API_KEY as for the other examples.
set -eu

url=${HEARTH_URL:-http://127.0.0.1:8765}
key=${HEARTH_API_KEY:-none}

ask() { # PATH JSON
    curl --silent --show-error --fail-with-body --no-buffer "$url$1" \
        --header "Authorization: Bearer $key" --header 'Content-Type: application/json' --data "$2"
    echo
}

echo "== the models that are here"
curl --silent --show-error --fail-with-body "$url/v1/models" --header "Authorization: Bearer $key"
echo

echo "== a chat"
ask /v1/chat/completions '{
  "model": "starter", "max_tokens": 100, "temperature": 0,
  "messages": [{"role": "user", "content": "write a function that reverses a string"}]
}'

echo "== the same, streamed: one line of data: a piece"
ask /v1/chat/completions '{
  "model": "starter", "max_tokens": 20, "temperature": 0, "stream": true,
  "messages": [{"role": "user", "content": "写一个函数，反转一个字符串"}]
}'

echo "== what stands at a cursor: prompt before it, suffix after it"
ask /v1/completions '{
  "model": "starter", "max_tokens": 20, "temperature": 0,
  "prompt": "def add(a, b):\n    return ", "suffix": "\n\nprint(add(1, 2))\n"
}'
