#!/bin/sh
# The endpoints at /: no library, no roles, no streams. HEARTH_URL and HEARTH_API_KEY as elsewhere.
set -eu

url=${HEARTH_URL:-http://127.0.0.1:8765}
key=${HEARTH_API_KEY:-none}

post() { # JSON
    curl --silent --show-error --fail-with-body "$url/" \
        --header "Authorization: Bearer $key" --header 'Content-Type: application/json' --data "$1"
    echo
}

echo "== chat: {prompt} gives {response, status, time}"
post '{"prompt": "你好"}'

echo "== completion: {data} gives the text alone"
post '{"data": "# this function prints hello world"}'

echo "== the same from a form"
curl --silent --show-error --fail-with-body --request PUT "$url/" \
    --header "Authorization: Bearer $key" --form 'data=# this function prints hello world'
echo

echo "== completion under a language's tag"
post '{"lang": "python", "prompt": "write a bubble sort function", "max_length": 128,
       "top_p": 0.95, "temperature": 0.2, "top_k": 0}'
