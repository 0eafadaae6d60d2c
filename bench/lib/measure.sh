# shellcheck shell=bash disable=SC2034,SC2154
# Times the programs of one group (a job, an image, a server), interleaved, and prints the group.
#
#   group TITLE JOB SERVER IMAGE    begins
#   add NAME COMMAND                a shell command; it writes below $OUT, which is empty before it
#   missing NAME WHY                a program that cannot take part
#   measure                         runs and prints
#
# A group has one case named `conex` and one whose name ends in "(floor)": what ratios are made of.
# $before and $after are run around each case, outside of the time. $loop is how often a command
# does its work, $unit is s or ms, $sized tells to print the size of $OUT.

gnu_time=$(type -P time || true)

group() {
  title=$1 columns="$2	$3	$4"
  names=() commands=() notes=() faults=()
  before=: after=: loop=1 unit=s sized=''
  OUT=$scratch/out
  export OUT
  samples=$scratch/samples
  : >"$samples"
}

add() { names+=("$1") commands+=("$2") faults+=(''); }

missing() { notes+=("$1: $2"); }

# add_if PROGRAM NAME COMMAND: the header names the programs that are not installed.
add_if() { if installed "$1"; then add "$2" "$3"; fi; }

measure() {
  local round i busy own wall
  busy=$(machine_cpu) own=$(own_cpu) wall=$EPOCHSECONDS
  # Round 0 warms caches, finds who fails, and does not count.
  for ((round = 0; round <= runs; round++)); do
    say "$title: round $round of $runs"
    for i in "${!names[@]}"; do [[ -n ${faults[i]} ]] || one_run "$i" "$round"; done
  done
  for i in "${!names[@]}"; do
    [[ -z ${faults[i]} ]] || notes+=("${names[i]}: failed: ${faults[i]}")
  done
  tell_others "$(($(machine_cpu) - busy))" "$(($(own_cpu) - own))" "$((EPOCHSECONDS - wall))"
  print_group
}

# tell_others MACHINE OWN SECONDS: notes what part of the machine others took away, in hundredths of
# seconds; figures taken beside much of it tell little, and least of programs with many threads.
tell_others() {
  local percent=$((($1 - $2) / (($3 + 1) * $(nproc))))
  ((percent < 3)) || notes+=("others took $percent % of this machine's CPU meanwhile")
}

# What all processors have worked.
machine_cpu() { awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 + $9 }' /proc/stat; }

# What this run has worked: its children that have ended, itself, and the server.
own_cpu() {
  local files=("/proc/$$/stat")
  [[ -z $server_pid ]] || files+=("/proc/$server_pid/stat")
  local pid
  for pid in "${registry_pids[@]}"; do [[ ! -e /proc/$pid/stat ]] || files+=("/proc/$pid/stat"); done
  [[ -z ${wire_pid:-} ]] || files+=("/proc/$wire_pid/stat")
  # The name of a process may hold spaces, so fields count from its closing parenthesis.
  cat "${files[@]}" | sed 's/.*) //' | awk '{ sum += $12 + $13 + $14 + $15 } END { print sum }'
}

# one_run INDEX ROUND
one_run() {
  local start end status=0 size=0
  empty_out
  $before
  [[ $disk != ext4 ]] || sync -f "$scratch"
  start=${EPOCHREALTIME/./}
  timed "${commands[$1]}" || status=$?
  end=${EPOCHREALTIME/./}
  if ((status)); then
    faults[$1]="exit $status: $({ grep -v '^[[:space:]]*$' "$scratch/log" || true; } | tail -n 1 | cut -c 1-200)"
    return
  fi
  [[ -z $sized ]] || size=$(find "$OUT" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%d", sum }')
  $after
  (($2 == 0)) || printf '%d\t%d\t%d\t%s\t%s\n' "$2" "$1" $((end - start)) "$size" "$(cost)" >>"$samples"
}

# timed COMMAND: in a shell, which `exec` in the command replaces.
timed() {
  if [[ -n $gnu_time ]]; then
    "$gnu_time" -q -o "$scratch/cost" -f '%U %S %M' sh -c "$1" >"$scratch/log" 2>&1 </dev/null
  else
    sh -c "$1" >"$scratch/log" 2>&1 </dev/null
  fi
}

# CPU seconds, and peak KiB of the largest process, of the run just made; zeros where GNU time is not there to tell.
cost() {
  if [[ -n $gnu_time ]]; then awk '{ print $1 + $2 "\t" $3 }' "$scratch/cost"; else printf '0\t0'; fi
}

empty_out() {
  # podman leaves its store mounted on itself.
  if ((EUID == 0)); then
    awk -v out="$OUT/" 'index($2, out) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
  fi
  # An image may hold folders that only root can empty.
  ((EUID == 0)) || [[ ! -d $OUT ]] || chmod -R u+rwx "$OUT"
  rm -rf "$OUT"
  mkdir -p "$OUT"
}

print_group() {
  empty_out
  local i
  for i in "${!names[@]}"; do printf '0\t%d\t%s\n' "$i" "${names[i]}"; done >"$scratch/names"
  if [[ -n $tsv ]]; then
    if [[ $tsv == - ]]; then summary tsv; else summary tsv >>"$tsv"; fi
  fi
  if [[ $tsv != - ]]; then
    printf '\n**%s**\n\n' "$title"
    summary markdown
    local note
    for note in "${notes[@]}"; do printf -- '- %s\n' "$note"; done
  elif ((${#notes[@]})); then
    printf '# %s\n' "${notes[@]}"
  fi
}

summary() {
  awk -F '\t' -v format="$1" -v columns="$columns" -v loop="$loop" -v unit="$unit" -v sized="$sized" \
    -v known="${gnu_time:+1}" -f "$bench/lib/summary.awk" "$scratch/names" "$samples"
}

header() {
  local cpu memory
  cpu=$(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo)
  memory=$(awk '/MemTotal/ { printf "%d", $2 / 1048576 }' /proc/meminfo)
  local lines=(
    "$(date -u +%F), ${cpu:-unknown processor}, $(nproc) cores, $memory GiB, Linux $(uname -r), on $disk, medians of $runs"
    "load before the run: $(cut -d ' ' -f 1-3 /proc/loadavg)"
    "$(versions)"
  )
  local tool absent=''
  for tool in $PEERS; do installed "$tool" || absent+=" $tool"; done
  [[ -z $absent ]] || lines+=("not installed:$absent")
  [[ -n $gnu_time ]] || lines+=('GNU time is not installed: no CPU time and no memory')
  if [[ $tsv == - ]]; then printf '# %s\n' "${lines[@]}"; else printf '%s\n\n' "${lines[@]}"; fi
  local heads='job\tserver\timage\ttool\tunit\tmedian\tleast\tmost\tx_floor\tx_conex\tcpu_s\tpeak_kib\tout_bytes\truns\n'
  # shellcheck disable=SC2059
  if [[ $tsv == - ]]; then printf "$heads"; elif [[ -n $tsv ]]; then printf "$heads" >>"$tsv"; fi
}

versions() {
  local tool all=''
  all=$("$conex" --version)
  for tool in skopeo umoci podman docker-registry; do
    if installed "$tool"; then all+=", $("$tool" --version 2>/dev/null | head -n 1 | grep -oE '[0-9]+(\.[0-9]+)+[^ ]*' | head -n 1 | sed "s/^/$tool /")"; fi
  done
  for tool in crane regctl oras; do
    if installed "$tool"; then all+=", $tool $("$tool" version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+[^ ]*' | head -n 1)"; fi
  done
  echo "$all"
}
