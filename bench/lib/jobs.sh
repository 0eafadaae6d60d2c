# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# The jobs: what conex and each peer is told to do. Commands run in `sh` with these in the
# environment: OUT (an empty folder), layout and name (the image), ref (HOST:PORT/bench:NAME), tree.

# wanted DEFAULT...: the images of a job, as --image narrows them.
wanted() {
  local image
  if ((${#images[@]} == 0)); then echo "$@"; return; fi
  for image in "$@"; do [[ " ${images[*]} " != *" $image "* ]] || echo "$image"; done
}

# use_image NAME: lays the layout beside everything else that is timed.
use_image() {
  need_image "$1" || return 1
  rm -rf "$scratch/layout" "$scratch/tars" "$scratch/tree"
  cp -r "$work/corpus/$1" "$scratch/layout"
  name=$1 layout=$scratch/layout tree=$scratch/tree tars=$scratch/tars
  export name layout tree tars
}

# umoci wants to be told that it is not root.
export rootless=--rootless
((EUID != 0)) || rootless=

job_start() {
  group 'start: one `--version`' start '' ''
  unit=ms loop=50
  local i='for i in 1 2 3 4 5 6 7 8 9 10; do' d='; done'
  repeat() { add "$1" "for j in 1 2 3 4 5; do $i $2 >/dev/null || exit 1$d$d"; }
  repeat_if() { if installed "$1"; then repeat "$1" "$2"; fi; }
  repeat 'true (floor)' "$(type -P true)"
  repeat conex '"$conex" --version'
  local tool
  for tool in skopeo umoci podman docker-registry; do repeat_if "$tool" "$tool --version"; done
  for tool in crane regctl oras; do repeat_if "$tool" "$tool version"; done
  measure
}

job_pull() {
  local image server
  for image in $(wanted debian wordpress big many); do
    use_image "$image" || continue
    for server in $SERVERS; do pull_from "$server" "$image"; done
  done
}

pull_from() {
  group "pull: $2 from $1 to a layout" pull "$1" "$2"
  if ! server_program "$1" >/dev/null; then no_server "$1"; return; fi
  start_server "$1"
  # shellcheck disable=SC2046
  "$bench/lib/curl-push" "$server_url" "$layout" "$(manifest_of "$layout")" "$name" $(blobs_of "$layout")
  export ref=$server_url/bench:$name
  curl_config >"$scratch/blobs.curl"
  export blobs=$scratch/blobs.curl
  add 'curl of the blobs to files (floor)' 'cd "$OUT" && exec curl -K "$blobs"'
  add 'curl, all blobs at a time' 'cd "$OUT" && exec curl -Z -K "$blobs"'
  add conex 'exec "$conex" copy "$ref" "oci:$OUT/layout:$name"'
  add 'conex pull, to its store' 'exec "$conex" --store "$OUT/store" pull "$ref"'
  add_if skopeo skopeo 'exec skopeo copy -q --src-tls-verify=false "docker://$ref" "oci:$OUT/layout:$name"'
  add_if crane crane 'exec crane pull --insecure --format=oci "$ref" "$OUT/layout"'
  add_if regctl regctl 'exec regctl --host "reg=$server_url,tls=disabled" image copy "$ref" "ocidir://$OUT/layout:$name"'
  add_if oras oras 'exec oras copy --no-tty --from-plain-http --to-oci-layout "$ref" "$OUT/layout:$name"'
  measure
  stop_server
}

# One call that writes all blobs of the image, each to a file.
curl_config() {
  local blob
  printf 'silent\nshow-error\nfail\n'
  for blob in $(blobs_of "$layout"); do
    printf 'url = "http://%s/v2/bench/blobs/sha256:%s"\noutput = "%s"\n' "$server_url" "$blob" "$blob"
  done
}

job_push() {
  local image server
  for image in $(wanted debian wordpress big many); do
    use_image "$image" || continue
    for server in $SERVERS; do push_to "$server" "$image"; done
  done
}

push_to() {
  group "push: $2 from a layout to $1, empty each time" push "$1" "$2"
  if ! server_program "$1" >/dev/null; then no_server "$1"; return; fi
  # shellcheck disable=SC2317
  fresh_server() { start_server "$server_name"; export ref=$server_url/bench:$name; }
  server_name=$1 before=fresh_server after=stop_server
  export manifest blobs bench
  manifest=$(manifest_of "$layout")
  blobs=$(blobs_of "$layout" | tr '\n' ' ')
  add 'curl of the blobs, one by one (floor)' 'exec "$bench/lib/curl-push" "$server_url" "$layout" "$manifest" "$name" $blobs'
  add conex 'exec "$conex" push "$ref" --from "oci:$layout:$name"'
  add_if skopeo skopeo 'exec skopeo copy -q --dest-tls-verify=false "oci:$layout:$name" "docker://$ref"'
  add_if crane crane 'exec crane push --insecure "$layout" "$ref"'
  add_if regctl regctl 'exec regctl --host "reg=$server_url,tls=disabled" image copy "ocidir://$layout:$name" "$ref"'
  add_if oras oras 'exec oras copy --no-tty --to-plain-http --from-oci-layout "$layout:$name" "$ref"'
  measure
  stop_server
}

no_server() {
  missing "$1" "not installed"
  print_group
}

job_unpack() {
  local image
  for image in $(wanted debian wordpress big many debian-zstd wordpress-zstd); do
    use_image "$image" && unpack_image "$image"
  done
}

unpack_image() {
  local layer untar='tar -C "$OUT" --numeric-owner --xattrs --xattrs-include="*" -xp' number=0
  group "unpack: $1 to a root file system" unpack '' "$1"
  mkdir -p "$tars"
  for layer in $(layers_of "$layout"); do
    number=$((number + 1))
    inflate "$layout/blobs/sha256/$layer" >"$tars/$number.tar"
  done
  export layers
  layers=$(layers_of "$layout" | tr '\n' ' ')
  add 'tar x of the uncompressed layers (floor)' "for tar in \"\$tars\"/*; do $untar -f \"\$tar\" || exit; done"
  add conex 'exec "$conex" unpack "oci:$layout:$name" "$OUT/rootfs"'
  # What is written is on the disk in the end, which no peer waits for; a memory has nothing to wait for.
  [[ $disk != ext4 ]] || add 'conex, not durable' 'exec "$conex" --no-sync unpack "oci:$layout:$name" "$OUT/rootfs"'
  add_if umoci 'umoci raw unpack' 'exec umoci raw unpack $rootless --image "$layout:$name" "$OUT/rootfs"'
  ((EUID != 0)) || add_if podman 'podman pull, to its overlay store' \
    'TMPDIR=$OUT exec podman --root "$OUT/root" --runroot "$OUT/run" --storage-driver overlay pull -q "oci:$layout:$name"'
  local program
  if [[ $1 == *-zstd ]]; then
    add "zstd -d | tar x" "for layer in \$layers; do zstd -qdc \"\$layout/blobs/sha256/\$layer\" | $untar || exit; done"
  else
    for program in gzip pigz igzip; do
      add_if "$program" "$program -d | tar x" \
        "for layer in \$layers; do $program -dc <\"\$layout/blobs/sha256/\$layer\" | $untar || exit; done"
    done
    unpack_from_registry
  fi
  measure
  stop_server
  rm -rf "$tars"
}

# crane unpacks nothing itself; its export of an image from a registry, with tar, is the nearest.
unpack_from_registry() {
  local server
  installed crane || return 0
  for server in $SERVERS; do server_program "$server" >/dev/null && break; done
  start_server "$server"
  # shellcheck disable=SC2046
  "$bench/lib/curl-push" "$server_url" "$layout" "$(manifest_of "$layout")" "$name" $(blobs_of "$layout")
  export ref=$server_url/bench:$name
  add 'crane export | tar x' 'crane export --insecure "$ref" - | tar -C "$OUT" --numeric-owner -xp'
}

inflate() {
  case $(head -c 2 "$1" | od -An -tx1 | tr -d ' ') in
    1f8b) gzip -dc <"$1" ;;
    *) zstd -qdc <"$1" ;;
  esac
}

job_pack() {
  local image
  for image in $(wanted debian wordpress big many); do
    # Without --image only those two: `big` takes gzip half a minute a round.
    [[ ${#images[@]} -gt 0 || $image == debian || $image == wordpress ]] || continue
    use_image "$image" && pack_image "$image"
  done
}

pack_image() {
  local tar='tar -C "$tree" --sort=name --numeric-owner --xattrs --xattrs-include="*" -c .'
  group "pack: the tree of $1 to one layer" pack '' "$1"
  sized=1
  lay_tree
  # To a file on the way: tar writes nothing to /dev/null and does not even read the files then.
  add 'tar c (floor)' "$tar >\"\$OUT/tar\""
  add conex 'exec "$conex" pack "$tree" "oci:$OUT/layout:$name"'
  add 'conex, zstd' 'exec "$conex" pack --compression zstd "$tree" "oci:$OUT/layout:$name"'
  add 'tar c | gzip -6' "$tar | gzip -6 >\"\$OUT/tar.gz\""
  add_if pigz 'tar c | pigz -6' "$tar | pigz -6 >\"\$OUT/tar.gz\""
  add_if igzip 'tar c | igzip -1' "$tar | igzip -1 >\"\$OUT/tar.gz\""
  add_if zstd 'tar c | zstd -3 -T0' "$tar | zstd -q -3 -T0 >\"\$OUT/tar.zst\""
  add_if umoci 'umoci insert' \
    'umoci init --layout "$OUT/l" && umoci new --image "$OUT/l:x" && exec umoci insert $rootless --image "$OUT/l:x" "$tree" /'
  ((EUID != 0)) || add_if buildah 'buildah copy, commit' 'set -e; export TMPDIR=$OUT STORAGE_DRIVER=vfs
    b="buildah --root $OUT/root --runroot $OUT/run"
    c=$($b from scratch); $b copy -q "$c" "$tree" / ; exec $b commit -q "$c" "oci:$OUT/layout:x"'
  measure
  rm -rf "$tree"
}

# The tree that the layers make, without whiteouts: `tar` knows none, and the tree is all that counts.
lay_tree() {
  local layer
  mkdir -p "$tree"
  for layer in $(layers_of "$layout"); do
    inflate "$layout/blobs/sha256/$layer" | tar -C "$tree" --numeric-owner --xattrs --xattrs-include='*' -xp
  done
  find "$tree" -name '.wh.*' -delete
}
