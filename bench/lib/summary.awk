# Medians and ratios of one group. Reads two files: names ("0 INDEX NAME"), then samples
# ("ROUND INDEX MICROSECONDS BYTES CPU_SECONDS PEAK_KIB"). -v format=markdown|tsv, -v columns=JOB TAB
# SERVER TAB IMAGE, -v loop, -v unit=s|ms, -v sized, -v known (whether CPU and memory are).

NR == FNR { name[$2] = $3; cases = $2 + 1; if ($3 == "conex") conex = $2 + 1; if ($3 ~ /\(floor\)$/) base = $2 + 1; next }
{
  time[$2, $1] = $3 / loop
  cpu[$2, $1] = $5
  if ($6 > peak[$2]) peak[$2] = $6
  bytes[$2] = $4
  if ($1 > rounds) rounds = $1
}

END {
  scale = unit == "ms" ? 1000 : 1000000
  if (format == "markdown") head()
  for (c = 0; c < cases; c++) if ((c, 1) in time) row(c)
}

function head(   line, rule) {
  line = "| | median " unit " | least to most | × floor | × conex |"; rule = "|---|--:|--:|--:|--:|"
  if (known) { line = line " CPU s | peak MiB |"; rule = rule "--:|--:|" }
  if (sized) { line = line " MB written |"; rule = rule "--:|" }
  print line; print rule
}

function row(c,   r, own, used, list, floor_ratio, conex_ratio) {
  for (r = 1; r <= rounds; r++) { list[r] = time[c, r] / scale }
  own = median(list, rounds)
  low = list[1]; high = list[rounds]
  for (r = 1; r <= rounds; r++) { list[r] = cpu[c, r] }
  used = median(list, rounds)
  floor_ratio = ratio(c, base - 1)
  conex_ratio = ratio(c, conex - 1)
  if (format == "tsv") {
    printf "%s\t%s\t%s\t%.4f\t%.4f\t%.4f\t%s\t%s\t%s\t%s\t%s\t%d\n", columns, name[c], unit, own, low, high, floor_ratio,
      conex_ratio, known ? used : "", known ? peak[c] : "", sized ? bytes[c] : "", rounds
    return
  }
  digits = unit == "ms" ? "%.1f" : own < 0.1 ? "%.3f" : "%.2f"
  shown = name[c]; gsub(/[|]/, "\\|", shown)
  printf "| %s | " digits " | " digits " to " digits " | %s | %s |", shown, own, low, high, floor_ratio, conex_ratio
  if (known) printf " %.2f | %.0f |", used, peak[c] / 1024
  if (sized) printf " %.1f |", bytes[c] / 1000000
  print ""
}

# The median over the rounds of what one took by what the other took in the same round.
function ratio(c, other,   r, list) {
  if (other < 0 || !((other, 1) in time)) return ""
  for (r = 1; r <= rounds; r++) list[r] = time[c, r] / time[other, r]
  return sprintf("%.2f", median(list, rounds))
}

# Sorts the list as well.
function median(list, count,   i, j, x) {
  for (i = 2; i <= count; i++) {
    x = list[i]
    for (j = i - 1; j >= 1 && list[j] > x; j--) list[j + 1] = list[j]
    list[j + 1] = x
  }
  return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
}
