#!/usr/bin/env bash
# The first minute of a new user, on an empty folder: start, paste the printed curl line, stop, start again.
#   scripts/smoke.sh PATH_OF_THE_BINARY
set -euo pipefail

binary=$(realpath "$1")
folder=$(mktemp -d)
server=
trap 'if [[ $server ]]; then kill -9 "$server" && wait "$server"; fi 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
export HANDSTAMP_FORWARD_AUTH__LISTEN=127.0.0.1:0 # its usual port may be taken on this machine

fail() {
  echo "smoke: $*; the server said:" >&2
  sed -E 's/hs[ktrpc]_[[:alnum:]]+/(secret)/g' said >&2 || true
  exit 1
}
milliseconds() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# Starts the server and waits until it answers; $took is how many milliseconds that was.
start() {
  local begun found
  begun=$(milliseconds)
  "$binary" serve --listen 127.0.0.1:0 >said 2>&1 </dev/null &
  server=$!
  address=
  while true; do
    took=$(($(milliseconds) - begun))
    if [[ -z $address ]]; then
      found=$(grep -oE 'listening on http://[0-9.]+:[0-9]+' said || true)
      address=${found#listening on }
    fi
    if [[ -n $address ]] && curl -sf -o /dev/null --max-time 1 "$address/livez"; then break; fi
    kill -0 "$server" 2>/dev/null || fail "the server ended by itself"
    ((took < 20000)) || fail "no answer after 20 s"
    sleep 0.01
  done
}

# SIGTERM must lead to a clean end within ten seconds.
stop() {
  local begun status=0
  begun=$(milliseconds)
  kill -TERM "$server"
  while kill -0 "$server" 2>/dev/null; do
    (($(milliseconds) - begun < 10000)) || fail "still there ten seconds after SIGTERM"
    sleep 0.01
  done
  wait "$server" || status=$?
  server=
  ((status == 0)) || fail "SIGTERM ended it with exit code $status"
}

start
echo "an empty store answers after $took ms"
((took < 1000)) || fail "the first answer took $took ms, and may take 1000"

# The curl line as a person would copy it: from `curl` to the first line that does not continue. The status
# code comes from curl's own configuration file, so that the line itself stays untouched.
awk '/^[[:space:]]*curl / { inside = 1 } inside { print; if (!/\\$/) exit }' said >pasted
grep -q curl pasted || fail "no curl line was printed"
printf 'silent\nshow-error\nwrite-out = "\\nstatus %%{http_code}\\n"\n' >.curlrc
CURL_HOME=$folder bash pasted >answer 2>&1 </dev/null || fail "the printed curl line failed: $(cat answer)"
grep -qE '^status 20[01]$' answer || fail "the printed curl line was answered with $(grep status answer)"
echo "the printed curl line works as pasted: $(grep status answer)"

[[ $(stat -c %a handstamp-data/access.key) == 600 ]] || fail "access.key is readable for others"
[[ $(stat -c %a handstamp-data/master.key) == 600 ]] || fail "master.key is readable for others"
key=$(<handstamp-data/access.key)

# What was acknowledged is there after kill -9.
curl_api() { curl -sS --max-time 5 -H "Authorization: Bearer $key" -H 'Content-Type: application/json' "$@"; }
token=$(curl_api "$address/v1/sessions" -d '{"user_id": "smoke"}' | sed -nE 's/.*"token": ?"(hst_[^"]+)".*/\1/p')
[[ -n $token ]] || fail "no session token in the answer to create"
{ kill -9 "$server" && wait "$server"; } 2>/dev/null || true
start
echo "a second start answers after $took ms"
verdict=$(curl_api "$address/v1/sessions/validate" -d "{\"token\": \"$token\"}")
grep -qE '"valid": ?true' <<<"$verdict" || fail "the session is gone after kill -9: $verdict"
echo "a session survives kill -9"
if grep -qE 'hs[kp]_' said; then fail "the second start printed a key again"; fi

stop
echo "SIGTERM ends it cleanly"
