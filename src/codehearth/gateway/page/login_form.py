"""The form that a browser sees that is not logged in: no script, and both languages on it."""

from __future__ import annotations

import base64
import hashlib

from starlette.responses import HTMLResponse, Response


def login_form(*, is_wrong: bool = False) -> Response:
    """What a browser gets that is not logged in, with status 401."""
    wrong = _WRONG if is_wrong else ""
    return HTMLResponse(_FORM.replace("<!--wrong-->", wrong), status_code=401, headers=_HEADERS)


_STYLE = """
  :root { color-scheme: light dark; --accent: #b4460f; --edge: #8885 }
  @media (prefers-color-scheme: dark) { :root { --accent: #ff9d5c } }
  * { box-sizing: border-box }
  body { font: 16px/1.6 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
         display: grid; place-items: center; min-height: 100vh; margin: 0; padding: 1rem }
  main { width: 100%; max-width: 24rem; padding: 2rem; border: 1px solid var(--edge);
         border-radius: 16px }
  h1 { margin: 0 0 .25rem; font-size: 1.5rem }
  p { margin: .25rem 0; opacity: .85 }
  label { display: block; margin: 1.25rem 0 .25rem; font-weight: 600 }
  input, button { width: 100%; padding: .7rem .9rem; font: inherit; border-radius: 10px;
                  border: 1px solid var(--edge); background: transparent; color: inherit }
  input { font-family: ui-monospace, Menlo, Consolas, monospace }
  input:focus-visible, button:focus-visible { outline: 3px solid var(--accent);
                                              outline-offset: 1px }
  button { margin-top: 1rem; background: var(--accent); color: Canvas; font-weight: 600;
           cursor: pointer }
  small { display: block; margin-top: 1rem }
  .wrong { color: var(--accent); font-weight: 600; opacity: 1 }
  code { font: .9em ui-monospace, Menlo, Consolas, monospace; white-space: nowrap }
"""

_WRONG = """
<p class="wrong" role="alert">This key is not known here, or was revoked.
<span lang="zh-CN">密钥无效或已被吊销。</span></p>"""

_FORM = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CodeHearth</title>
<style>{_STYLE}</style>
<main>
<h1>CodeHearth</h1>
<p>This server needs a key.</p>
<p lang="zh-CN">此服务器需要密钥才能使用。</p><!--wrong-->
<form method="post" action="/hearth/login">
<label for="key">API key · <span lang="zh-CN">密钥</span></label>
<input id="key" name="key" type="password" placeholder="sk-…" required autofocus
  autocomplete="current-password" spellcheck="false">
<button>Sign in · <span lang="zh-CN">登录</span></button>
</form>
<p><small>An administrator makes one with <code>hearth keys create NAME</code>.
<span lang="zh-CN">管理员可用该命令创建密钥。</span></small></p>
</main>
</html>
"""

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
}
