#!/usr/bin/env bash
# The better of the two sandboxes, where it is missing and can be installed; the tests of it skip
# with a reason where it cannot.
set -euo pipefail
command -v bwrap > /dev/null && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || { echo "no bubblewrap" >&2; exit 0; }
apt-get install -y --no-install-recommends bubblewrap > /dev/null 2>&1 ||
  { apt-get update && apt-get install -y --no-install-recommends bubblewrap; } ||
  echo "bubblewrap could not be installed" >&2
