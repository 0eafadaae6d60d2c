# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# What a registry does for many clients and with much content: conex serve, docker-registry and, where a file is all that is
# sent, nginx, all at once on loopback. `ab` asks from the same machine.

REQUESTS=20000
LARGE_MIB=650
MANY_TAGS=100000
MANY_REFERRERS=10000

job_registry() {
  local program
  for program in ab docker-registry nginx; do
    installed "$program" || { say "registry: skipped: $program is not installed"; return 0; }
  done
  lay_content
  local job
  for job in requests push pull tags referrers start; do "registry_$job"; done
  stop_registries
}

# An image of seven small blobs, and a large blob of noise.
lay_content() {
  small=$scratch/small manifest=$scratch/manifest.json large=$scratch/large
  printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}' >"$small"
  small_digest=sha256:$(sha256sum <"$small" | cut -c 1-64)
  local layer layers='' size
  size=$(stat -c %s "$small")
  layer="\"digest\":\"$small_digest\",\"size\":$size}"
  for _ in 1 2 3 4 5 6; do layers+=",{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",$layer"; done
  printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s,"layers":[%s]}' \
    application/vnd.oci.image.manifest.v1+json "$layer" "${layers#,}" >"$manifest"
  manifest_digest=sha256:$(sha256sum <"$manifest" | cut -c 1-64)
  openssl enc -aes-128-ctr -pass pass:conex -pbkdf2 -in /dev/zero 2>/dev/null | head -c "${LARGE_MIB}M" >"$large" || true
  large_digest=sha256:$(sha256sum <"$large" | cut -c 1-64)
  export small small_digest manifest manifest_digest large large_digest
}

# start_registries: both empty, and nginx on the files of this job.
start_registries() {
  stop_registries
  conex_url=127.0.0.1:$(free_port) docker_url=127.0.0.1:$(free_port) nginx_url=127.0.0.1:$(free_port)
  export conex_url docker_url nginx_url
  rm -rf "$scratch/conex-root" "$scratch/docker-root"
  start_conex
  registry_config "$scratch/docker-root" "$docker_url" >"$scratch/registry.yml"
  OTEL_TRACES_EXPORTER=none docker-registry serve "$scratch/registry.yml" >/dev/null 2>&1 &
  registry_pids+=($!)
  nginx_config >"$scratch/nginx.conf"
  nginx -c "$scratch/nginx.conf" -e /dev/null &
  registry_pids+=($!)
  local url
  for url in "$conex_url" "$docker_url" "$nginx_url"; do wait_for_url "$url"; done
}

start_conex() {
  "$conex" serve --root "$scratch/conex-root" --listen "$conex_url" >/dev/null 2>"$scratch/access.log" &
  conex_pid=$!
  registry_pids+=("$conex_pid")
}

stop_registries() {
  local pid
  for pid in "${registry_pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${registry_pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  registry_pids=()
}

registry_pids=()

wait_for_url() {
  for _ in {1..400}; do
    ! curl -s -o /dev/null "http://$1/v2/" || return 0
    sleep 0.01
  done
  fail "$1 does not answer" '' 1
}

nginx_config() {
  cat <<CONF
daemon off; worker_processes auto; pid $scratch/nginx.pid;
$( ((EUID != 0)) || echo 'user root;')
events {}
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  client_body_temp_path $scratch/nginx-1; proxy_temp_path $scratch/nginx-2; fastcgi_temp_path $scratch/nginx-3;
  uwsgi_temp_path $scratch/nginx-4; scgi_temp_path $scratch/nginx-5;
  server { listen $nginx_url; root $scratch; location = /v2/ { return 200; } }
}
CONF
}

# upload URL FILE DIGEST: POST, then PUT; as commands of the measured shell too.
upload='upload() {
  l=$(curl -sfi -X POST -H "Content-Length: 0" "http://$1/v2/bench/blobs/uploads/" | tr -d "\r" | sed -n "s/^[Ll]ocation: //p")
  case $l in /*) l=http://$1$l ;; esac
  case $l in *\?*) l="$l&" ;; *) l="$l?" ;; esac
  curl -sf -o /dev/null -T "$2" -H "Content-Type: application/octet-stream" "${l}digest=$3"
}'

push_small() {
  eval "$upload"
  local url
  for url in "$conex_url" "$docker_url"; do
    upload "$url" "$small" "$small_digest"
    curl -sf -T "$manifest" -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' "http://$url/v2/bench/manifests/1"
  done
}

registry_requests() {
  start_registries
  push_small
  export accept
  local ab="exec ab -q -k -c 16 -n $REQUESTS -H \"\$accept\""
  group "registry: $REQUESTS GET of a manifest by its tag, 16 clients that keep their connections" registry-manifest '' ''
  add 'nginx, the same file (floor)' "$ab http://\$nginx_url/manifest.json"
  add conex "$ab http://\$conex_url/v2/bench/manifests/1"
  add docker-registry "$ab http://\$docker_url/v2/bench/manifests/1"
  measure
  group "registry: $REQUESTS HEAD of a blob, 16 clients" registry-blob '' ''
  add 'nginx, the same file (floor)' "$ab -i http://\$nginx_url/small"
  add conex "$ab -i http://\$conex_url/v2/bench/blobs/\$small_digest"
  add docker-registry "$ab -i http://\$docker_url/v2/bench/blobs/\$small_digest"
  measure
  tell_memory
}

registry_push() {
  group "registry: push of $LARGE_MIB MiB with curl; conex has it on the disk then" registry-push '' ''
  before=start_registries
  add conex "$upload; upload \"\$conex_url\" \"\$large\" \"\$large_digest\""
  add docker-registry "$upload; upload \"\$docker_url\" \"\$large\" \"\$large_digest\""
  measure
}

registry_pull() {
  start_registries
  eval "$upload"
  upload "$conex_url" "$large" "$large_digest"
  upload "$docker_url" "$large" "$large_digest"
  group "registry: pull of $LARGE_MIB MiB with curl, to nowhere" registry-pull '' ''
  local curl='exec curl -sf -o /dev/null'
  add 'nginx, the same file (floor)' "$curl http://\$nginx_url/large"
  add conex "$curl http://\$conex_url/v2/bench/blobs/\$large_digest"
  add docker-registry "$curl http://\$docker_url/v2/bench/blobs/\$large_digest"
  measure
  tell_memory
}

tell_memory() {
  local peak
  peak=$(awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$conex_pid/status")
  peak="conex serve: at most $peak MiB of memory so far"
  if [[ $tsv == - ]]; then say "$peak"; else printf '\n%s\n' "$peak"; fi
}

# The trees are written by hand: 100,000 pushes would take minutes.
registry_tags() {
  start_registries
  push_small
  local tags=$scratch/conex-root/repositories/bench/_tags docker
  docker=$scratch/docker-root/docker/registry/v2/repositories/bench/_manifests/tags
  awk -v to="$tags" -v digest="$manifest_digest" -v n="$MANY_TAGS" \
    'BEGIN { for (i = 0; i < n; i++) { f = sprintf("%s/t%06d", to, i); printf "%s", digest >f; close(f) } }'
  (cd "$docker" && seq -f 't%06.0f/current' 0 $((MANY_TAGS - 1)) | xargs mkdir -p &&
    awk -v digest="$manifest_digest" -v n="$MANY_TAGS" \
      'BEGIN { for (i = 0; i < n; i++) { f = sprintf("t%06d/current/link", i); printf "%s", digest >f; close(f) } }')
  group "registry: 1,000 tags of $MANY_TAGS, from the middle on, ten times" registry-tags '' ''
  unit=ms loop=10
  local page='v2/bench/tags/list?n=1000&last=t050000' ten='exec curl -sf'
  for _ in 1 2 3 4 5 6 7 8 9 10; do ten+=' -o /dev/null "$url"'; done
  add conex "url='http://$conex_url/$page'; $ten"
  add docker-registry "url='http://$docker_url/$page'; $ten"
  measure
}

registry_referrers() {
  local subject=sha256:$(printf %064d 7) folder
  folder=$scratch/conex-root/repositories/bench
  mkdir -p "$folder/_referrers/${subject/:/-}"
  write_referrers "$folder" "${subject/:/-}" "$MANY_REFERRERS"
  group "registry: the first page of $MANY_REFERRERS referrers, ten times" registry-referrers '' ''
  unit=ms loop=10
  local ten='exec curl -sf' url=http://$conex_url/v2/bench/referrers/$subject
  for _ in 1 2 3 4 5 6 7 8 9 10; do ten+=' -o /dev/null "$url"'; done
  add conex "url='$url'; $ten"
  add 'conex, of one type in a hundred' "url='$url?artifactType=application/x-sbom'; $ten"
  measure
  group 'registry: the same page, the first time after a start' registry-referrers-cold '' ''
  unit=ms before=restart_conex
  # curl itself takes 10 ms to start.
  add 'curl of an empty answer (floor)' "exec curl -sf -o /dev/null 'http://$conex_url/v2/'"
  add conex "exec curl -sf -o /dev/null '$url'"
  measure
}

restart_conex() {
  kill "$conex_pid"
  wait "$conex_pid" || true
  start_conex
  wait_for_url "$conex_url"
}

# With all the tags of the job before, and as many manifests.
registry_start() {
  awk -v to="$scratch/conex-root/repositories/bench/_manifests/sha256" -v n=100000 'BEGIN {
    for (i = 0; i < n; i++) {
      f = sprintf("%s/%064d", to, i + 1000000)
      printf "application/vnd.oci.image.manifest.v1+json" >f; close(f)
    } }'
  stop_registries
  start_url=127.0.0.1:$(free_port) conex_root=$scratch/conex-root
  export start_url conex_root
  group 'registry: from the start to the first answer, on a folder of 100,000 manifests and tags' registry-start '' ''
  unit=ms
  add conex '"$conex" serve --root "$conex_root" --listen "$start_url" >/dev/null 2>&1 & pid=$!
    until curl -sf -o /dev/null "http://$start_url/v2/bench/manifests/1"; do kill -0 $pid || exit; done; kill $pid; wait $pid'
  measure
}
