#!/usr/bin/env bash
# Builds wheel and sdist, installs the wheel into an empty environment, and uses it there. What
# passed lies in dist/.
#
# With uv's cache this takes half a minute; without it, what the packages take to arrive.
#   --bundle   also packs a bundle and installs it where there is no network (minutes)
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$PWD/.venv/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
max_wheel_bytes=$((60 * 1000 * 1000))

step() { printf '== %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

step "building"
"$bin/uv" build --quiet --wheel --sdist --out-dir "$work/dist" .
wheel=$(ls "$work"/dist/*.whl)
sdist=$(ls "$work"/dist/*.tar.gz)
bytes=$(wc -c <"$wheel")
[ "$bytes" -lt $max_wheel_bytes ] || fail "the wheel has $bytes bytes, more than $max_wheel_bytes"
printf 'wheel: %s bytes, sdist: %s bytes\n' "$bytes" "$(wc -c <"$sdist")"

step "looking inside"
names=$("$bin/python" -m zipfile -l "$wheel")
for wanted in data/starter.gguf data/catalogue.toml data/install_bundle.sh web/static/page.css \
    share/man/man1/hearth.1 licenses/LICENSE engines/requirements/transformers-cpu.txt; do
    grep -q "$wanted" <<<"$names" || fail "the wheel lacks $wanted"
done
if grep -qE '__pycache__|/tests/|\.venv|\.safetensors' <<<"$names"; then fail "the wheel holds what it should not"; fi
names=$(tar tf "$sdist")
for wanted in src/codehearth/cli/entry.py tests/cli/command_line.py pyproject.toml Makefile; do
    grep -q "/$wanted$" <<<"$names" || fail "the sdist lacks $wanted"
done

step "installing into an empty environment"
"$bin/uv" venv --quiet --python "$bin/python" "$work/env"
export VIRTUAL_ENV=$work/env
"$bin/uv" pip install --quiet --require-hashes -r requirements.txt
"$bin/uv" pip install --quiet --no-deps "$wheel"
"$bin/uv" pip check --quiet

step "using it, in a home of its own"
hearth() {
    env -i HOME="$work/home" PATH="$work/env/bin:/usr/bin:/bin" LANG=C.UTF-8 HF_HUB_OFFLINE=1 \
        HEARTH_LLAMA_SERVER=off hearth "$@"
}
mkdir "$work/home"
cd "$work/home" # not where the sources are
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$OLDPWD/src/codehearth/__init__.py")
[ "$(hearth --version)" = "hearth $version" ] || fail "$(hearth --version) is not $version"
hearth doctor
hearth run --max-tokens 60 --temperature 0 "write a function that reverses a string" | grep -q "def " ||
    fail "the starter writes no function"
[ -n "$(hearth show starter:bf16 | grep starter-bf16)" ] || fail "no checkpoint is made of the starter"
mkdir -p "$OLDPWD/dist"
cp "$wheel" "$sdist" "$OLDPWD/dist/"
printf 'dist/%s\n' "$(basename "$wheel")" "$(basename "$sdist")"
case " $* " in
*" --bundle "*) ;;
*) exit 0 ;;
esac

step "packing a bundle"
"$bin/uv" pip install --quiet pip
env HOME="$work/home" "$work/env/bin/hearth" bundle starter -o "$work/bundle.tar" >/dev/null
tar xf "$work/bundle.tar" -C "$work"

step "installing the bundle without a network"
alone() {
    unshare --user --map-root-user --net env -i HOME="$work/there" PATH=/usr/bin:/bin \
        PYTHON="$bin/python" LANG=C.UTF-8 "$@"
}
mkdir "$work/there"
alone sh "$work/codehearth-bundle/install.sh"
alone "$work/there/.local/bin/hearth" doctor
printf 'x' >>"$(ls "$work"/codehearth-bundle/wheels/click-*.whl)"
if alone sh "$work/codehearth-bundle/install.sh" "$work/again" 2>"$work/said"; then
    fail "a damaged bundle was installed"
fi
grep -q "is damaged" "$work/said" || fail "$(cat "$work/said")"
[ ! -e "$work/again" ] || fail "a damaged bundle left something behind"
