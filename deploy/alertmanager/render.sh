#!/bin/sh
# Write alertmanager.yml with what Alertmanager cannot take from its environment:
#
#   render.sh OUTPUT [TEMPLATE]
#
# TELEGRAM_TOKEN_FILE, or else TELEGRAM_TOKEN     the bot's token
# ERROR_REPORTING_CHAT_ID, or else TELEGRAM_CHAT_ID   a numeric chat id
# TELEGRAM_BASE_URL   the Bot API, if not Telegram's own
# ALERT_WEBHOOK_URL   where alerts about Telegram itself go, too: any address that takes Alertmanager's webhook
# RUNBOOK_BASE_URL    what docs/runbooks/... is put behind, so that the links in messages open
#
# For any POSIX shell: it also runs in the image of Alertmanager. OUTPUT is readable by its owner only.
set -eu

fail() {
  echo "alertmanager/render.sh: $1" >&2
  exit 1
}

[ $# -ge 1 ] && [ $# -le 2 ] || fail "usage: render.sh OUTPUT [TEMPLATE]"
output=$1
template=${2:-$(dirname "$0")/alertmanager.yml}

token=${TELEGRAM_TOKEN:-}
if [ -n "${TELEGRAM_TOKEN_FILE:-}" ]; then
  [ -r "$TELEGRAM_TOKEN_FILE" ] || fail "TELEGRAM_TOKEN_FILE: $TELEGRAM_TOKEN_FILE cannot be read"
  token=$(tr -d '[:space:]' <"$TELEGRAM_TOKEN_FILE")
fi
chat=${ERROR_REPORTING_CHAT_ID:-${TELEGRAM_CHAT_ID:-}}
api=${TELEGRAM_BASE_URL:-https://api.telegram.org}
api=${api%/}
webhook=${ALERT_WEBHOOK_URL:-}
runbooks=${RUNBOOK_BASE_URL:-}
runbooks=${runbooks%/}

# What is put in must not be able to end the value or the sed command; the token is not shown.
case $token in
  "") fail "no token: set TELEGRAM_TOKEN_FILE or TELEGRAM_TOKEN" ;;
  *[!A-Za-z0-9:_-]*) fail "the token has a character that no bot token has" ;;
esac
case ${chat#-} in
  "") fail "no chat: set ERROR_REPORTING_CHAT_ID or TELEGRAM_CHAT_ID" ;;
  *[!0-9]*) fail "the chat id must be a number, such as -1001234567890: Alertmanager takes no @name" ;;
esac
check_url() {
  case $2 in
    *[!A-Za-z0-9:/._~%@-]*) fail "$1 has a character that it must not have" ;;
    http://?* | https://?*) ;;
    *) fail "$1 must start with http:// or https://" ;;
  esac
}
check_url TELEGRAM_BASE_URL "$api"
[ -z "$runbooks" ] || check_url RUNBOOK_BASE_URL "$runbooks"
# the one that may have a query; who knows it may write there, so it is not shown
case $webhook in
  "") ;;
  *[!A-Za-z0-9:/._~%@?=\&+-]*) fail "ALERT_WEBHOOK_URL has a character that it must not have" ;;
  http://?* | https://?*) ;;
  *) fail "ALERT_WEBHOOK_URL must start with http:// or https://" ;;
esac
webhooks="[]"
[ -z "$webhook" ] || webhooks="[{url: '$(printf '%s' "$webhook" | sed 's/&/\\&/g')', send_resolved: true}]"

umask 077
rm -f "$output"
# through a pipe of the shell's own printf, so that no process list shows the token
printf '%s\n' \
  "s|^\( *- bot_token:\).*|\1 '$token'|" \
  "s|^\( *chat_id:\).*|\1 $chat|" \
  "s|^\( *api_url:\).*|\1 $api|" \
  "s|^\( *webhook_configs:\).*|\1 $webhooks|" \
  "s|^\( *대응: \)|\1${runbooks:+$runbooks/}|" |
  sed -f - "$template" >"$output"
grep -q "chat_id: $chat\$" "$output" || fail "$template is not the configuration that this script knows"
