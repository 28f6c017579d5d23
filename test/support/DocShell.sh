# What the shell of the documents' snippets finds: the program, and commands that a reader would leave running.
# The test sets ROOT, NODE, CHANGE (who is asked there changes a row), and what the pages call $ID, $KEY and so on.
set -euo pipefail
set -a

say() { echo "$*" >&2; }

# Changes a row until this file says something that fits, which a stream may do only later than it was opened.
change_until() {
  local file=$1 pattern=$2 tries=0
  until grep -qE -- "$pattern" "$file"; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ]; then say "nothing came that fits $pattern: $(cat "$file")"; return 1; fi
    command curl -fsS -X POST "$CHANGE" >/dev/null
    sleep 0.1
  done
}

# Runs it until it has shown a change, and stops it as Ctrl-C would; it has to end well.
until_change() {
  local pattern=$1 out; shift
  out=$(mktemp)
  "$@" >"$out" 2>"$out.err" &
  local pid=$!
  if ! change_until "$out" "$pattern"; then cat "$out.err" >&2; kill -KILL $pid; return 1; fi
  kill -INT $pid
  local code=0; wait $pid || code=$?
  cat "$out"
  rm -f "$out" "$out.err"
  return $code
}

serve() {
  local out; out=$(mktemp)
  PORT=0 "$NODE" "$ROOT/src/main.ts" serve "$@" >"$out" 2>&1 &
  local pid=$! tries=0
  until grep -q " is ready on " "$out"; do
    tries=$((tries + 1))
    if [ $tries -gt 600 ] || ! kill -0 $pid 2>/dev/null; then say "it does not serve: $(cat "$out")"; return 1; fi
    sleep 0.1
  done
  kill -TERM $pid
  wait $pid
  rm -f "$out"
}

truss-webhooks() {
  case "$1 $*" in
    "serve "*) shift; serve "$@" ;;
    "listen "*) until_change '"?(INSERT|UPDATE)"?' "$NODE" "$ROOT/src/main.ts" "$@" ;;
    *"--follow"*) until_change 'INSERT|UPDATE' "$NODE" "$ROOT/src/main.ts" "$@" ;;
    *) "$NODE" "$ROOT/src/main.ts" "$@" ;;
  esac
}

npx() { "$@"; }

npm() {
  case "$*" in
    start) truss-webhooks serve ;;
    "start -- "*) shift 2; truss-webhooks serve "$@" ;;
    "run --silent truss -- "*) shift 4; truss-webhooks "$@" ;;
    "run truss -- "*) shift 3; truss-webhooks "$@" ;;
    *) say "npm $* has no place in a snippet that is run"; return 1 ;;
  esac
}

# An answer of 400 or more is a snippet that does not work.
curl() {
  case " $* " in
    *" -N "*)
      local out; out=$(mktemp)
      command curl -sS --fail-with-body "$@" >"$out" &
      local pid=$!
      change_until "$out" '^event: entry'
      kill -TERM $pid; wait $pid || true
      cat "$out"; rm -f "$out" ;;
    *) command curl -sS --fail-with-body "$@" ;;
  esac
}
