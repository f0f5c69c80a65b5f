#!/bin/sh
# Installs CodeHearth and the models of this bundle. No internet, no package registry, no root.
#
#   sh install.sh [FOLDER]      FOLDER: where the program goes, ~/.local/share/hearth-app by default
#
# Models go to the hubs' caches and to CodeHearth's data folder: HF_HOME, MODELSCOPE_CACHE and
# HEARTH_DATA say where, as always.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${1:-$HOME/.local/share/hearth-app}
wanted="@PYTHON@"
platform="@PLATFORM@"

tell() { printf '%s\n' "$*" >&2; }

# 1. The Python that the packages were made for.
python=
for one in "${PYTHON:-}" "python$wanted" python3 python; do
    if [ -n "$one" ] && command -v "$one" >/dev/null 2>&1 &&
        [ "$("$one" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$wanted" ]
    then
        python=$one
        break
    fi
done
if [ -z "$python" ]; then
    tell "error: this bundle is for Python $wanted on $platform, and there is no Python $wanted here"
    tell ""
    tell "hint: install it from your system's packages or name it: PYTHON=/path/to/python sh install.sh"
    exit 3
fi

# 2. Is the bundle whole? Python's own library is enough to know.
"$python" - "$here" <<'PY' || exit 1
import hashlib, json, pathlib, sys

here = pathlib.Path(sys.argv[1])
for file in json.loads((here / "manifest.json").read_text())["files"]:
    digest = hashlib.sha256()
    try:
        with (here / file["path"]).open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        sys.exit(f"error: {file['path']} cannot be read: {error.strerror}")
    if digest.hexdigest() != file["sha256"]:
        sys.exit(f"error: {file['path']} is damaged; copy the bundle again")
PY

# 3. An environment of its own, from the wheels alone. pip comes along: Debian's Python has none.
"$python" -m venv --without-pip "$target"
pip=$(ls "$here"/wheels/pip-*.whl)
"$target/bin/python" "$pip/pip" --isolated --disable-pip-version-check --quiet install \
    --no-index --no-deps --require-hashes --find-links "$here/wheels" -r "$here/requirements.txt"

# 4. The models.
"$target/bin/hearth" unbundle "$here"

# 5. The command.
mkdir -p "$HOME/.local/bin"
ln -sf "$target/bin/hearth" "$HOME/.local/bin/hearth"
tell "CodeHearth is installed: $HOME/.local/bin/hearth (is that folder in your PATH?)"
tell "\`hearth up --offline\` serves the best model that is here."
