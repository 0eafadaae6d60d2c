# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# Artifacts: many small files there and back, and what refers to an image.

MANY_FILES=10000
SHOWN_REFERRERS=1000

# 10,000 small files as one artifact, each a layer.
job_artifact() {
  local server number
  export files=$scratch/files
  rm -rf "$files"
  mkdir -p "$files"
  awk -v to="$files" -v n="$MANY_FILES" \
    'BEGIN { for (i = 0; i < n; i++) { f = sprintf("%s/%05d.txt", to, i); print "file " i >f; close(f) } }'
  (cd "$files" && printf '%s:text/plain\n' *.txt) >"$scratch/typed"
  export typed=$scratch/typed
  for server in $SERVERS; do
    if ! server_program "$server" >/dev/null; then no_server "$server"; continue; fi
    # A repository of its own for each push: what is there already is not sent.
    start_server "$server"
    group "artifact: push of $MANY_FILES small files to $server" artifact-push "$server" ''
    add 'cp -r (floor)' 'exec cp -r "$files" "$OUT/files"'
    add conex 'cd "$files" && exec "$conex" artifact push . "$server_url/conex-$(date +%s%N):1" --folder files'
    add_if oras oras 'cd "$files" && exec oras push --no-tty --plain-http "$server_url/oras-$(date +%s%N):1" $(cat "$typed")'
    measure
    (cd "$files" && "$conex" artifact push . "$server_url/bench:1" --folder files >/dev/null)
    export ref=$server_url/bench:1
    group "artifact: pull of $MANY_FILES small files from $server" artifact-pull "$server" ''
    add 'cp -r (floor)' 'exec cp -r "$files" "$OUT/files"'
    add conex 'exec "$conex" artifact pull "$ref" "$OUT/files"'
    add 'conex --no-sync' 'exec "$conex" artifact pull --no-sync "$ref" "$OUT/files"'
    add_if oras oras 'exec oras pull --no-tty --plain-http "$ref" -o "$OUT/files"'
    measure
    stop_server
  done
}

# All that refers to an image, and whether anything refers to that. The referrers are written by hand:
# what lists them is measured, not their pushes.
job_discover() {
  local subject folder
  start_server conex-serve
  export ref=$server_url/bench:1
  "$conex" artifact push "$server_url/bench:1" --artifact-type application/vnd.example.mark >/dev/null
  subject=$("$conex" digest "$ref" | tail -n 1)
  folder=$scratch/registry/repositories/bench
  mkdir -p "$folder/_referrers/${subject/:/-}"
  write_referrers "$folder" "${subject/:/-}" "$SHOWN_REFERRERS"
  export list=http://$server_url/v2/bench/referrers/$subject
  group "discover: $SHOWN_REFERRERS referrers of conex serve, and whether they have any" discover conex-serve ''
  unit=ms
  add 'curl of the list alone (floor)' 'exec curl -sf -o /dev/null "$list"'
  add conex 'exec "$conex" discover "$ref"'
  add_if oras oras 'exec oras discover --plain-http "$ref"'
  measure
  stop_server
}

# write_referrers FOLDER SUBJECT COUNT: as the server has them on its disk.
write_referrers() {
  awk -v to="$1" -v subject="$2" -v n="$3" 'BEGIN {
    type = "application/vnd.oci.image.manifest.v1+json"
    for (i = 0; i < n; i++) {
      hex = sprintf("%064d", i)
      f = to "/_manifests/sha256/" hex; printf "%s", type >f; close(f)
      f = to "/_referrers/" subject "/sha256-" hex
      printf "{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\",\"size\":700,\"artifactType\":\"application/x-%s\",\"annotations\":{\"org.opencontainers.image.created\":\"2026-01-01T00:00:00Z\"}}", type, hex, i % 100 ? "signature" : "sbom" >f
      close(f)
    } }'
}
