#!/usr/bin/env bash
# Runs Bun with the given arguments: $BUN, the one in PATH, or one that is kept in $BUN_CACHE (node_modules/.cache/bun).
set -euo pipefail

version=1.4.5
cache=${BUN_CACHE:-$(cd "$(dirname "$0")/.." && pwd)/node_modules/.cache/bun}

fits() {
  local found
  found=$("$1" --version 2>/dev/null) || return 1
  [ "$(printf '%s\n' 1.4.0 "$found" | sort -V | head -n 1)" = 1.4.0 ]
}

# The package's install script only chooses among these, and scripts may be disabled.
find_cached() {
  local candidate
  for candidate in "$cache"/node_modules/@oven/bun-*/bin/bun; do
    if fits "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

if [ -n "${BUN:-}" ]; then
  bun=$BUN
elif bun=$(command -v bun) && fits "$bun"; then
  :
elif ! bun=$(find_cached); then
  npm install --prefix "$cache" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "bun@$version" >&2
  bun=$(find_cached)
fi

exec "$bun" "$@"
