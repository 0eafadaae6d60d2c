# shellcheck shell=bash disable=SC2034,SC2154
# Registries on loopback, their content in $scratch. One runs at a time.

server_pid='' server_url=''

# Those a job is run against; names as in the tables.
SERVERS="docker-registry conex-serve"

server_program() {
  case $1 in
    conex-serve) echo "$conex" ;;
    docker-registry) command -v docker-registry || command -v registry ;; # Debian's name, upstream's
  esac
}

# start_server NAME: an empty registry on a free port; its address is then in $server_url.
start_server() {
  # Between the look for a free port and its use another program may have taken it.
  for _ in 1 2 3; do
    try_server "$1"
    ! wait_for_server || return 0
    stop_server
  done
  fail "$1 does not answer: $(tail -n 1 "$scratch/server.log")" '' 1
}

try_server() {
  local root=$scratch/registry program
  stop_server
  program=$(server_program "$1")
  rm -rf "$root"
  mkdir -p "$root"
  server_url=127.0.0.1:$(free_port)
  export server_url
  case $1 in
    conex-serve) "$program" serve --root "$root" --listen "$server_url" >"$scratch/server.log" 2>&1 & ;;
    docker-registry)
      registry_config "$root" "$server_url" >"$scratch/registry.yml"
      OTEL_TRACES_EXPORTER=none "$program" serve "$scratch/registry.yml" >"$scratch/server.log" 2>&1 &
      ;;
  esac
  server_pid=$!
}

stop_server() {
  [[ -n $server_pid ]] || return 0
  kill "$server_pid" 2>/dev/null || true
  wait "$server_pid" 2>/dev/null || true
  server_pid=''
}

wait_for_server() {
  for _ in {1..200}; do
    kill -0 "$server_pid" 2>/dev/null || return 1
    if curl -sf -o /dev/null "http://$server_url/v2/"; then return 0; fi
    sleep 0.05
  done
  return 1
}

registry_config() {
  cat <<YAML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $1}, delete: {enabled: true}}
http: {addr: $2}
YAML
}

# Below the ports that the system gives to clients, of which the runs before left many behind.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "$port"; return; fi
  done
}
