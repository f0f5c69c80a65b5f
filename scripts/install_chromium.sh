#!/usr/bin/env bash
# Installs the browser that the page's tests drive, where apt can and it is not there yet.
# Without it those tests are skipped and say why; so a failure here fails nothing else.
set -euo pipefail
for name in chromium chromium-browser google-chrome google-chrome-stable; do
	if command -v "$name" >/dev/null; then
		exit 0
	fi
done
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
	echo "no Chromium, and no apt with root's rights to install it: the page's browser tests are skipped" >&2
	exit 0
fi
apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >/dev/null ||
	echo "apt could not install Chromium: the page's browser tests are skipped" >&2
