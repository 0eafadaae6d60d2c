# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# Jobs on places of this machine: layouts and archives are validated, copied and looked up in.

job_validate() {
  local image
  for image in $(wanted debian wordpress big many); do
    use_image "$image" && validate_image "$image"
  done
}

validate_image() {
  group "validate: $1 with every digest and diff ID" validate '' "$1"
  export layers blobs
  layers=$(layers_of "$layout" | tr '\n' ' ')
  blobs=$(blobs_of "$layout" | tr '\n' ' ')
  local hash='cd "$layout/blobs/sha256" && sha256sum $blobs'
  ! installed openssl || hash='cd "$layout/blobs/sha256" && exec openssl sha256 $blobs'
  add 'sha256 of the blobs (floor)' "$hash"
  # A layout of another program has no seals: conex hashes all of it.
  add conex 'exec "$conex" validate "oci:$layout:$name"'
  ((EUID != 0)) || add_if umoci 'umoci raw unpack' 'exec umoci raw unpack --image "$layout:$name" "$OUT/rootfs"'
  ! installed crane || crane_validates
  measure
  stop_server
}

# crane validates what is in a registry.
crane_validates() {
  local server
  for server in $SERVERS; do server_program "$server" >/dev/null && break; done
  start_server "$server"
  # shellcheck disable=SC2046
  "$bench/lib/curl-push" "$server_url" "$layout" "$(manifest_of "$layout")" "$name" $(blobs_of "$layout")
  export ref=$server_url/bench:$name
  add 'crane validate' 'exec crane validate --insecure --remote "$ref"'
}

job_copy() {
  local image
  for image in $(wanted debian wordpress big many); do
    use_image "$image" && copy_image "$image"
  done
}

# Durable: the floor is `cp` and a sync of the file system.
copy_image() {
  group "copy: $1 from a layout to a layout, durable" copy-layout '' "$1"
  add 'cp -r, sync (floor)' 'cp -r "$layout" "$OUT/layout" && sync -f "$OUT"'
  add conex 'exec "$conex" copy "oci:$layout:$name" "oci:$OUT/layout:$name"'
  add 'conex, not durable' 'exec "$conex" --no-sync copy "oci:$layout:$name" "oci:$OUT/layout:$name"'
  add_if skopeo skopeo 'exec skopeo copy -q "oci:$layout:$name" "oci:$OUT/layout:$name"'
  measure

  group "copy: $1 from a layout to an archive, durable" copy-archive '' "$1"
  add 'tar c, sync (floor)' 'tar -C "$layout" -cf "$OUT/a.tar" . && sync -f "$OUT"'
  add conex 'exec "$conex" copy "oci:$layout:$name" "oci-archive:$OUT/a.tar:$name"'
  add_if skopeo skopeo 'exec skopeo copy -q "oci:$layout:$name" "oci-archive:$OUT/a.tar:$name"'
  measure

  group "copy: $1 from an archive to a layout, durable" from-archive '' "$1"
  export archive=$scratch/archive.tar
  "$conex" copy "oci:$layout:$name" "oci-archive:$archive:$name" >/dev/null
  add 'tar x, sync (floor)' 'mkdir "$OUT/layout" && tar -C "$OUT/layout" -xf "$archive" && sync -f "$OUT"'
  add conex 'exec "$conex" copy "oci-archive:$archive:$name" "oci:$OUT/layout:$name"'
  add_if skopeo skopeo 'exec skopeo copy -q "oci-archive:$archive:$name" "oci:$OUT/layout:$name"'
  measure
  rm -f "$archive"
}

# One tag of 10,000.
job_tag() {
  local image=debian
  use_image "$image" || return 0
  group 'tag: one of 10,000 in a layout' tag '' "$image"
  awk 'BEGIN { RS = "\0" } {
    start = index($0, "[") + 1
    entry = substr($0, start, match($0, /\][^\]]*$/) - start)
    printf "%s", substr($0, 1, start - 1)
    for (i = 0; i < 10000; i++) {
      one = entry
      sub(/"org.opencontainers.image.ref.name" *: *"[^"]*"/, "\"org.opencontainers.image.ref.name\":\"t" i "\"", one)
      printf "%s%s", i ? "," : "", one
    }
    print "]}"
  }' "$layout/index.json" >"$scratch/index.json"
  mv "$scratch/index.json" "$layout/index.json"
  unit=ms loop=1
  add 'cat of the index (floor)' 'exec cat "$layout/index.json"'
  add conex 'exec "$conex" inspect "oci:$layout:t5000"'
  add_if skopeo skopeo 'exec skopeo inspect "oci:$layout:t5000"'
  measure
}
