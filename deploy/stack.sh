#!/bin/sh
# The stack of deploy/compose*.yaml, from the root of the project: what `make env|up|down|logs|ps` run.
#   deploy/stack.sh env | up | down | logs | ps | compose ARGUMENTS… | files
# WITH="monitoring together" adds deploy/compose.NAME.yaml; without it DEPLOY_WITH of .env does. ENV_FILE is another .env.
set -eu
cd "$(dirname "$0")/.."

ENV_FILE=${ENV_FILE:-$PWD/.env}
case $ENV_FILE in /*) ;; *) ENV_FILE=$PWD/$ENV_FILE ;; esac
export ENV_FILE

fail() {
  printf 'autotrader: %s\n' "$@" >&2
  exit 1
}

# what .env says of a variable that the environment does not have, read as compose reads it: after `export`, with blanks
# around =, in quotes, with a comment behind it
said() {
  [ -f "$ENV_FILE" ] || return 0
  sed -n "s/^[[:blank:]]*\(export[[:blank:]]\{1,\}\)\{0,1\}$1[[:blank:]]*=[[:blank:]]*//p" "$ENV_FILE" | tail -n 1 |
    sed -e 's/^"\([^"]*\)".*/\1/' -e t -e "s/^'\([^']*\)'.*/\1/" -e t \
      -e 's/^#.*//' -e 's/[[:space:]]\{1,\}#.*//' -e 's/[[:space:]]*$//'
}

need_docker() {
  command -v docker >/dev/null 2>&1 ||
    fail "docker is not installed; on Debian 13 or Raspberry Pi OS: sudo apt-get install docker.io docker-compose"
  docker compose version >/dev/null 2>&1 ||
    fail "docker has no compose plugin (version 2.24 or newer); on Debian 13: sudo apt-get install docker-compose"
  version=$(docker compose version --short | sed 's/^v//')
  major=${version%%.*} rest=${version#*.}
  [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "${rest%%.*}" -ge 24 ]; } ||
    fail "docker compose is $version, and 2.24 or newer is needed: see docs.docker.com/compose/install"
  told=$(docker version --format '{{.Server.Version}}' 2>&1) ||
    fail "the Docker engine does not answer: ${told##*
}" "start it (sudo systemctl start docker), and be in its group (sudo usermod -aG docker $(id -un), then log in anew)"
}

need_env() {
  [ -f "$ENV_FILE" ] || fail "$ENV_FILE is missing: make env writes one with passwords of its own, for you to fill in"
  [ -r "$ENV_FILE" ] || fail "$ENV_FILE cannot be read by $(id -un)"
  # compose shows the value that it stumbles over
  command -v python3 >/dev/null 2>&1 || return 0
  told=$(python3 deploy/pi/env_file.py "$ENV_FILE") || fail "$ENV_FILE cannot be read:" "$told"
}

# The names of the overlays. `sandbox` goes after all whose addresses and keys it takes away, and `together` last: what
# others change of the six services goes with them.
overlays() {
  with=${WITH-$(said DEPLOY_WITH)}
  first='' sandbox='' together=''
  for name in $(printf '%s' "$with" | tr ',' ' '); do
    [ -f "deploy/compose.$name.yaml" ] || fail "there is no overlay '$name' (WITH, or DEPLOY_WITH in .env): use$(
      for file in deploy/compose.*.yaml; do file=${file#deploy/compose.}; printf ' %s' "${file%.yaml}"; done)"
    case $name in
      sandbox) sandbox=sandbox ;;
      together) together=together ;;
      *) first="$first $name" ;;
    esac
  done
  # shellcheck disable=SC2086
  echo $first $sandbox $together
}

# the files, a line each
files() {
  chosen=$(overlays)
  for name in '' $chosen; do echo "deploy/compose${name:+.$name}.yaml"; done
}

compose() {
  files=$(files)
  # what compose.sandbox.yaml keeps from starting, unless the overlay is there that it is for
  case $files in *compose.monitoring.yaml*) profile='--profile monitoring' ;; *) profile='' ;; esac
  # no name of a file has a blank
  # shellcheck disable=SC2046,SC2086
  docker compose --env-file "$ENV_FILE" $(printf -- '-f %s ' $files) $profile "$@"
}

write_env() {
  [ ! -e "$ENV_FILE" ] || fail "$ENV_FILE exists, and is left as it is"
  secret() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
  umask 077
  sed -e "s/^POSTGRES_PASSWORD=\$/&$(secret)/" -e "s/^REDIS_PASSWORD=\$/&$(secret)/" \
    -e "s/^API_READ_TOKEN=\$/&$(secret)/" -e "s/^API_OPERATE_TOKEN=\$/&$(secret)/" \
    -e "s/^GRAFANA_PASSWORD=\$/&$(secret)/" \
    -e "s/^FLOWER_BASIC_AUTH=\$/&admin:$(secret)/" .env.example >"$ENV_FILE.part"
  mv "$ENV_FILE.part" "$ENV_FILE"
  echo "$ENV_FILE is written, with passwords of its own. Now fill in what you trade, keys and Telegram: docs/docker.md"
}

build() {
  image=${AUTOTRADER_IMAGE:-$(said AUTOTRADER_IMAGE)}
  image=${image:-autotrader:local}
  if [ "${BUILD:-}" != 1 ] && docker image inspect "$image" >/dev/null 2>&1; then return; fi
  revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
  echo "building $image, some minutes the first time" >&2
  docker build --quiet -f deploy/Dockerfile -t "$image" --build-arg "REVISION=$revision" \
    --build-arg "VERSION=$version" ${BUILD_ARGS:-} . >/dev/null
}

# Everything that can be said before anything starts. What the processes get is asked in a container, as they get it.
check() {
  told=$(compose config --quiet 2>&1) || fail "$told"
  compose --progress quiet run --rm --no-deps -T --env DEPLOY_WITH="$(overlays)" migrate settings --containers
}

case ${1:-} in
  env) write_env ;;
  up)
    need_docker
    need_env
    overlays >/dev/null
    build
    check
    compose up --detach --wait --remove-orphans || {
      code=$?
      compose ps --all >&2
      fail "not everything is up; \`make logs ARGS=\"--tail 30 SERVICE\"\` tells why, and docs/docker.md what to do"
    }
    compose ps
    ;;
  down) need_docker; need_env; compose down --remove-orphans ;;
  logs) need_docker; need_env; shift; compose logs --follow --tail 100 "$@" ;;
  ps) need_docker; need_env; shift; compose ps --all "$@" ;;
  compose) need_docker; need_env; shift; compose "$@" ;;
  files) files ;;
  *) fail "use deploy/stack.sh env, up, down, logs, ps, files or compose" ;;
esac
