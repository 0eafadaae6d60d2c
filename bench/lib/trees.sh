# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# What is told of the files of images, and the layer that a change becomes: the jobs `ls`, `diff`, `repack`.

job_ls() {
  local image
  for image in $(wanted wordpress many); do
    use_image "$image" || continue
    group "ls: all files of $image" ls '' "$image"
    export layers
    layers=$(layers_of "$layout" | tr '\n' ' ')
    add 'tar t of the layers, inflated (floor)' "$(each_layer 'tar -t >/dev/null')"
    add conex 'exec "$conex" ls -R "oci:$layout:$name" >"$OUT/list"'
    measure
  done
}

# each_layer COMMAND: inflates the layers one after the other, as fast as this machine has it.
each_layer() {
  local inflate=gzip program
  for program in pigz igzip; do ! installed "$program" || inflate=$program; done
  echo "for layer in \$layers; do $inflate -dc <\"\$layout/blobs/sha256/\$layer\" | $1 || exit; done"
}

# Two images with the same files and no layer in common: all of both has to be read.
job_diff() {
  local image
  for image in $(wanted wordpress big); do
    [[ ${#images[@]} -gt 0 || $image == wordpress ]] || continue
    use_image "$image" || continue
    group "diff: $image and the same in one layer" diff '' "$image"
    rm -rf "$scratch/other"
    "$conex" unpack --no-sync "oci:$layout:$name" "$tree" >/dev/null
    "$conex" pack --no-sync "$tree" "oci:$scratch/other:$name" >/dev/null
    rm -rf "$tree"
    export layers both other=$scratch/other
    layers=$(layers_of "$layout" | tr '\n' ' ')
    both="$layers $(layers_of "$other")"
    ln -f "$other"/blobs/sha256/* "$layout/blobs/sha256/"
    local inflate
    add 'gzip -dc of both, one after the other' "layers=\$both; $(each_layer 'cat >/dev/null' | sed 's/do [a-z]* -dc/do gzip -dc/')"
    inflate=$(each_layer 'cat >/dev/null')
    add 'both inflated (floor)' "layers=\$both; $inflate"
    add conex '"$conex" diff --stat "oci:$layout:$name" "oci:$other:$name" >"$OUT/stat"; [ $? -le 1 ]'
    measure
    rm -rf "$other"
  done
}

# A file more in a tree; each tool has unpacked the image itself, outside of the time.
job_repack() {
  local image
  for image in $(wanted many debian); do
    [[ ${#images[@]} -gt 0 || $image == many ]] || continue
    use_image "$image" || continue
    group "repack: one file more in $image" repack '' "$image"
    export bundle=$scratch/bundle
    rm -rf "$bundle"
    "$conex" unpack --no-sync "oci:$layout:$name" "$tree" >/dev/null
    echo new >"$tree/new"
    add 'find with all metadata (floor)' 'find "$tree" -printf "%p %m %U %G %T@ %s %n\n" >"$OUT/list"'
    add conex 'exec "$conex" repack "$tree" "oci:$layout:conex" --base "oci:$layout:$name"'
    if installed umoci; then
      umoci unpack $rootless --image "$layout:$name" "$bundle" >/dev/null 2>&1
      echo new >"$bundle/rootfs/new"
      add 'umoci repack' 'exec umoci repack --image "$layout:umoci" "$bundle"'
    fi
    measure
    rm -rf "$tree" "$bundle"
  done
}
