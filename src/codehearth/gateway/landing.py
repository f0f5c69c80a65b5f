"""What a browser sees at `/` until the full page is there: that it works, and how to go on."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

router = APIRouter()

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CodeHearth</title>
<style>
  :root { color-scheme: light dark }
  body { font: 16px/1.6 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
         max-width: 40rem; margin: 12vh auto; padding: 0 1.5rem }
  code { font: 0.9em ui-monospace, Menlo, Consolas, monospace }
  pre { padding: 1rem; border: 1px solid #8886; border-radius: 8px; overflow-x: auto }
</style>
<h1>CodeHearth</h1>
<p>Your code models are served here. Any OpenAI client can use them.</p>
<p lang="zh-CN">代码模型已在本机运行，任何 OpenAI 客户端都可以使用。</p>
<pre><code>curl http://HOST/v1/chat/completions \\
  -H 'Content-Type: application/json' \\
  -d '{"messages": [{"role": "user", "content": "Write a function that reverses a string"}]}'

hearth run        # chat in the terminal
hearth ls         # models on this machine</code></pre>
</html>
"""


@router.get("/", include_in_schema=False)
async def landing() -> Response:
    headers = {
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
        "frame-ancestors 'none'"
    }
    return HTMLResponse(_PAGE, headers=headers)
