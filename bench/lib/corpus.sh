# shellcheck shell=bash disable=SC2034,SC2154
# The corpus: OCI layouts under $work/corpus/NAME, tag NAME, written by tar, gzip and zstd alone so
# that no program under test has made them. Trees are laid in $scratch, never on the user's disk.
#
#   debian     minbase, 1 layer
#   wordpress  4 layers: debian, a medium tree, an npm tree of 20,000 small files, and one with
#              whiteouts, an opaque folder, links, xattrs, devices, odd names and modes
#   big        1 layer of 1 GiB in 8 files, half of it random
#   many       1 layer of 100,000 small files in 1,000 folders
#   one        1 layer of 64 MiB that does not shrink; `ten` the same in 10 layers
#   NAME-zstd  the same layers compressed with zstd

ALL_IMAGES="debian wordpress big many one ten debian-zstd wordpress-zstd big-zstd many-zstd"
CORPUS_VERSION=1

# need_image NAME: makes it unless it is there. Returns 1 where this machine cannot make it.
need_image() {
  local name=${1%-zstd} layout=$work/corpus/$1
  [[ $(cat "$layout/made" 2>/dev/null) != "$CORPUS_VERSION" ]] || return 0
  if [[ $1 == *-zstd ]] && ! installed zstd; then say "$1: skipped: zstd is not installed"; return 1; fi
  say "making the image $1"
  rm -rf "$layout" "$scratch/make"
  mkdir -p "$layout/blobs/sha256" "$scratch/make/tars"
  "make_$name" || return 1
  write_image "$1"
  printf '%s' "$CORPUS_VERSION" >"$layout/made"
  rm -rf "$scratch/make"
}

make_debian() {
  debian_tree || return 1
  to_tar "$scratch/make/debian" 1
}

# debian_tree: the same tree for all images that build on it, kept as a tar for the next run.
debian_tree() {
  local kept=$work/corpus/debian.tar tree=$scratch/make/debian
  if ((EUID != 0)); then say 'skipped: laying a Debian tree needs root'; return 1; fi
  mkdir -p "$tree"
  if [[ ! -f $kept ]]; then
    if ! installed debootstrap; then say 'skipped: debootstrap is not installed'; return 1; fi
    debootstrap --variant=minbase bookworm "$tree" http://deb.debian.org/debian >"$work/debootstrap.log" 2>&1 ||
      fail "debootstrap failed: see $work/debootstrap.log" '' 1
    rm -rf "${tree:?}"/{var/cache/apt/archives/*.deb,var/log/*,dev/*,proc/*,sys/*}
    archive "$tree" "$kept.new"
    mv "$kept.new" "$kept"
  else
    tar -C "$tree" --numeric-owner -xpf "$kept"
  fi
}

make_big() {
  local tree=$scratch/make/big i
  mkdir -p "$tree"
  awk -v mode=text -v size=4194304 -f "$bench/lib/files.awk" >"$scratch/make/text"
  for i in 1 2 3 4 5 6 7 8; do
    { random 67108864 "$i"; for _ in {1..16}; do cat "$scratch/make/text"; done; } >"$tree/file-$i"
  done
  to_tar "$tree" 1
}

make_one() { make_random 1 67108864; }
make_ten() { make_random 10 6710886; }

# make_random LAYERS BYTES
make_random() {
  local layer tree=$scratch/make/random
  for ((layer = 1; layer <= $1; layer++)); do
    rm -rf "$tree"
    mkdir -p "$tree"
    random "$2" "$layer" >"$tree/file-$layer"
    to_tar "$tree" "$layer"
  done
}

# random BYTES SEED: the same bytes each time where openssl is there.
random() {
  if installed openssl; then
    # head ends the pipe early, which is no fault here.
    { openssl enc -aes-128-ctr -nosalt -pbkdf2 -iter 1 -pass "pass:$2" </dev/zero 2>/dev/null || true; } | head -c "$1"
  else
    head -c "$1" /dev/urandom
  fi
}

make_many() {
  small_files "$scratch/make/many" flat 1000 100 600 3600 16384
  to_tar "$scratch/make/many" 1
}

make_wordpress() {
  local make=$scratch/make
  debian_tree || return 1
  to_tar "$make/debian" 1
  mkdir -p "$make/medium/opt/app" "$make/npm" "$make/last"
  cp -a "$make/debian/usr" "$make/medium/opt/app/one"
  cp -a "$make/debian/usr" "$make/medium/opt/app/two"
  to_tar "$make/medium" 2
  rm -rf "$make/medium"
  small_files "$make/npm/srv" npm 800 25 200 24000 1048576
  to_tar "$make/npm" 3
  last_layer "$make/last" "$make/npm"
  to_tar "$make/last" 4
}

# last_layer TREE BELOW: what real images do to the layers below them.
last_layer() (
  mkdir -p "$1/opt/app/one/share" "$1/opt/app/two/lib" "$1/srv/node_modules" "$1/odd" "$1/usr/bin"
  cd "$1" || exit
  : >opt/app/one/share/.wh.doc
  : >opt/app/one/share/.wh.zoneinfo
  : >opt/app/two/lib/.wh..wh..opq
  local package
  for package in $(cd "$2/srv/node_modules" && printf '%s\n' * | sort | head -50); do
    : >"srv/node_modules/.wh.$package"
  done
  printf 'new\n' >opt/app/two/lib/new
  for i in {1..200}; do
    printf 'content %d\n' "$i" >"odd/file-$i"
    ln "odd/file-$i" "odd/hard-$i"
    ln -s "file-$i" "odd/soft-$i"
  done
  mkdir -p "odd/$(printf 'x%.0s' {1..120})/$(printf 'y%.0s' {1..120})"
  printf 'long\n' >"odd/$(printf 'x%.0s' {1..120})/$(printf 'y%.0s' {1..120})/$(printf 'z%.0s' {1..120})"
  : >'odd/with space'
  : >"odd/$(printf 'line\nbreak')"
  : >'odd/größe'
  chmod 4755 odd/file-1; chmod 2755 odd/file-2; chmod 1777 odd; chmod 0 odd/file-3
  touch -d '1970-01-01 00:00:01.5 UTC' odd/file-4
  touch -d '2100-01-01 UTC' odd/file-5
  mkfifo odd/fifo
  mknod odd/null c 1 3
  # Where the file system or the program lacks them there are none, which costs no peer an advantage.
  for i in {10..60}; do setfattr -n user.bench -v "value $i" "odd/file-$i" 2>/dev/null || true; done
  setcap cap_net_raw+ep odd/file-6 2>/dev/null || true
)

# small_files TREE NAMES FOLDERS EACH LEAST MOST POOL: cut from a POOL of bytes; a small one packs well.
small_files() {
  local variables=(-v "root=$1" -v "names=$2" -v "folders=$3" -v "each=$4" -v "least=$5" -v "most=$6" -v "pool_size=$7")
  awk "${variables[@]}" -v mode=folders -f "$bench/lib/files.awk" | xargs mkdir -p
  awk "${variables[@]}" -v mode=files -f "$bench/lib/files.awk"
  find "$1" -exec touch -h -d '2024-01-01 UTC' {} +
}

# archive TREE FILE: entries sorted by name and nothing that depends on when it ran.
archive() {
  tar -C "$1" --format=posix --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
    --sort=name --numeric-owner --xattrs --xattrs-include='*' -cf "$2" .
}

to_tar() { archive "$1" "$scratch/make/tars/$2.tar"; }

# write_image NAME: a layout of the tars in $scratch/make/tars.
write_image() {
  local layout=$work/corpus/$1 how=gzip tar layers='' diff_ids='' digest
  [[ $1 != *-zstd ]] || how=zstd
  for tar in "$scratch"/make/tars/*.tar; do
    if [[ $how == gzip ]]; then gzip -6 -n <"$tar" >"$scratch/make/blob"; else zstd -q -3 <"$tar" >"$scratch/make/blob"; fi
    digest=$(sha256sum <"$tar")
    diff_ids+=",\"sha256:${digest%% *}\""
    layers+=,$(keep "$layout" "application/vnd.oci.image.layer.v1.tar+$how")
    rm "$tar"
  done
  printf '{"architecture":"%s","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(architecture)" "${diff_ids#,}" >"$scratch/make/blob"
  local config manifest type=application/vnd.oci.image.manifest.v1+json
  config=$(keep "$layout" application/vnd.oci.image.config.v1+json)
  printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' \
    "$type" "$config" "${layers#,}" >"$scratch/make/blob"
  manifest=$(keep "$layout" "$type")
  printf '{"schemaVersion":2,"manifests":[%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' \
    "${manifest%\}}" "$1" >"$layout/index.json"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
}

# keep LAYOUT MEDIA_TYPE: takes $scratch/make/blob in and prints its descriptor.
keep() {
  local digest size
  digest=$(sha256sum <"$scratch/make/blob")
  digest=${digest%% *}
  size=$(stat -c %s "$scratch/make/blob")
  mv "$scratch/make/blob" "$1/blobs/sha256/$digest"
  printf '{"mediaType":"%s","digest":"sha256:%s","size":%d}' "$2" "$digest" "$size"
}

architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}

# manifest_of LAYOUT: the digest of its only manifest, in hex. blobs_of LAYOUT: those of config and
# layers, base layer first. layers_of LAYOUT: without the config.
manifest_of() { grep -o 'sha256:[0-9a-f]\{64\}' "$1/index.json" | cut -d: -f2; }
blobs_of() { grep -o 'sha256:[0-9a-f]\{64\}' "$1/blobs/sha256/$(manifest_of "$1")" | cut -d: -f2; }
layers_of() { blobs_of "$1" | tail -n +2; }
