# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# Jobs that are about requests, not about bytes: how many there are, and how many wait for others.

accept='Accept: application/vnd.oci.image.manifest.v1+json'
export accept

# fill_server NAME IMAGE: starts it with the image in its repository `bench`.
fill_server() {
  if ! server_program "$1" >/dev/null; then no_server "$1"; return 1; fi
  start_server "$1"
  # shellcheck disable=SC2046
  "$bench/lib/curl-push" "$server_url" "$layout" "$(manifest_of "$layout")" "$name" $(blobs_of "$layout")
  export ref=$server_url/bench:$name
}

# The digest of a tag, ten starts of a program.
job_digest() {
  local server image=debian ten='for i in 1 2 3 4 5 6 7 8 9 10; do'
  use_image "$image" || return 0
  for server in $SERVERS; do
    group "digest: a tag of $server, ten starts" digest "$server" "$image"
    fill_server "$server" "$image" || continue
    add 'curl -I (floor)' "$ten curl -sfI -H \"\$accept\" -o /dev/null http://\${ref%%/*}/v2/bench/manifests/\$name || exit; done"
    add conex "$ten \"\$conex\" digest \"\$ref\" || exit; done"
    add_if skopeo skopeo "$ten skopeo inspect --no-tags --tls-verify=false -f '{{.Digest}}' \"docker://\$ref\" || exit; done"
    add_if crane crane "$ten crane digest --insecure \"\$ref\" || exit; done"
    add_if regctl regctl "$ten regctl --host \"reg=\$server_url,tls=disabled\" image digest \"\$ref\" || exit; done"
    measure
    stop_server
  done
}

# 500 tags of a repository copied to another one of the same registry, which has them already.
job_again() {
  local server image=debian
  use_image "$image" || return 0
  for server in $SERVERS; do
    group "again: 500 tags that are there already, $server" again "$server" "$image"
    fill_server "$server" "$image" || continue
    many_tags
    "$conex" copy --progress none --all-tags "$server_url/bench" "$server_url/mirror" >/dev/null
    add 'curl -I of each tag on both sides, one by one (floor)' 'exec curl -K "$tags"'
    add conex 'exec "$conex" copy --all-tags "$server_url/bench" "$server_url/mirror"'
    if installed skopeo; then
      skopeo sync --src docker --dest docker --src-tls-verify=false --dest-tls-verify=false \
        "$server_url/bench" "$server_url/mirrors" >/dev/null 2>&1 || true
      add skopeo 'exec skopeo sync --src docker --dest docker --src-tls-verify=false --dest-tls-verify=false "$server_url/bench" "$server_url/mirrors"'
    fi
    measure
    stop_server
  done
}

# 500 names for the one image, and what asks for each of them twice.
many_tags() {
  local number manifest url
  manifest=$layout/blobs/sha256/$(manifest_of "$layout")
  export tags=$scratch/tags.curl
  printf 'silent\nshow-error\nfail\nhead\nheader = "%s"\n' "$accept" >"$tags"
  printf 'silent\nshow-error\nfail\n' >"$scratch/put.curl"
  for ((number = 1; number <= 500; number++)); do
    url=http://$server_url/v2/bench/manifests/t$number
    printf 'upload-file = "%s"\nurl = "%s"\noutput = /dev/null\nheader = "%s"\nnext\n' "$manifest" "$url" \
      'Content-Type: application/vnd.oci.image.manifest.v1+json' >>"$scratch/put.curl"
    printf 'url = "%s"\noutput = /dev/null\nurl = "%s"\noutput = /dev/null\n' "$url" "$url" >>"$tags"
  done
  sed -i '$d' "$scratch/put.curl"
  curl -K "$scratch/put.curl"
}

# Ten layers over a line on which every answer waits 50 ms, against one layer of the same size.
job_wide() {
  local image server=conex-serve
  [[ -n $wire ]] || { say 'wide: skipped: no cargo to build the wire with'; return 0; }
  for image in $(wanted one ten); do
    use_image "$image" || continue
    group "wide: $image, 64 MiB, every answer 50 ms late" wide "$server" "$image"
    fill_server "$server" "$image" || continue
    lay_wire
    add 'curl, all blobs at a time (floor)' 'cd "$OUT" && exec curl -Z -K "$blobs"'
    add conex 'exec "$conex" copy --with none "$ref" "oci:$OUT/layout:$name"'
    add_if skopeo skopeo 'exec skopeo copy -q --src-tls-verify=false "docker://$ref" "oci:$OUT/layout:$name"'
    add_if crane crane 'exec crane pull --insecure --format=oci "$ref" "$OUT/layout"'
    add_if regctl regctl 'exec regctl --host "reg=${ref%%/*},tls=disabled" image copy "$ref" "ocidir://$OUT/layout:$name"'
    measure
    cut_wire
    # Within one registry: no layer moves, so what is left are answers that wait for one another.
    group "wide: $image to another repository of the registry, every answer 50 ms late" wide-mount "$server" "$image"
    fill_server "$server" "$image"
    lay_wire
    add 'one request (floor)' 'exec curl -sfI -H "$accept" -o /dev/null "http://${ref%%/*}/v2/bench/manifests/$name"'
    add conex 'exec "$conex" copy --with none "$ref" "${ref%%/*}/to-$$:$name"'
    add_if skopeo skopeo 'exec skopeo copy -q --src-tls-verify=false --dest-tls-verify=false "docker://$ref" "docker://${ref%%/*}/to-$$:$name"'
    add_if crane crane 'exec crane copy --insecure "$ref" "${ref%%/*}/to-$$:$name"'
    measure
    cut_wire
    stop_server
  done
}

wire=''

# The wire is a program of the project's test kit. Cargo has to find its own home, so it is built
# before that of the programs is set.
find_wire() {
  installed cargo || return 0
  say 'building the wire'
  (cd "$repo" && cargo build --release --locked --quiet --package conex-testkit --example wire) ||
    fail 'the wire does not build' '' 1
  wire=${CARGO_TARGET_DIR:-$repo/target}/release/examples/wire
}

lay_wire() {
  : >"$scratch/wire"
  "$wire" "$server_url" 50 >"$scratch/wire" &
  wire_pid=$!
  local near=''
  while [[ -z $near ]]; do near=$(<"$scratch/wire"); sleep 0.02; done
  export ref=$near/bench:$name blobs=$scratch/blobs.curl
  server_url=$near curl_config >"$blobs"
}

cut_wire() {
  kill "$wire_pid"
  wait "$wire_pid" 2>/dev/null || true
  wire_pid=''
}
