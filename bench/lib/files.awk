# Prints or fills a tree of small text files, the same on every machine.
#   -v mode=folders|files  -v root=DIR  -v folders=N  -v each=N (files in one folder)
#   -v least=BYTES  -v most=BYTES  -v pool_size=BYTES (the text they are cut from)  -v names=flat|npm
# `mode=folders` prints the folders to make; `mode=files` writes the files into them.
# `mode=text` prints `-v size=BYTES` of text.

BEGIN {
  state = 20481
  if (mode == "text") { printf "%s", text(size); exit }
  if (mode == "files") pool = text(pool_size)
  for (f = 0; f < folders; f++) fill(f)
}

function fill(f,   dir, i, path) {
  dir = root "/" (names == "npm" ? sprintf("node_modules/%s-%d", word(0), f) : sprintf("%04d", f))
  if (mode == "folders") { print dir; if (names == "npm") print dir "/lib"; return }
  for (i = 0; i < each; i++) {
    path = dir "/" (names == "npm" ? (i ? "lib/" word(i) "-" i ".js" : "package.json") : sprintf("file-%03d.txt", i))
    # Squared: many small files and few large ones, as in real trees.
    size = least + int((most - least) * next_random() * next_random())
    printf "%s", substr(pool, 1 + int(next_random() * (length(pool) - size)), size) > path
    close(path)
  }
}

# Park and Miller's generator: exact in doubles, whatever awk's own rand() does.
function next_random() { state = (state * 16807) % 2147483647; return state / 2147483647 }

# A word depends on the folder's and file's number only, so that both modes name the same paths.
function word(i) {
  return substr("alphabetagammadeltaepsilonzetaiotakappalambdaomicron", 1 + (f * 7 + i * 3) % 40, 4 + (f + i) % 7)
}

function text(size,   words, count, list, out, block) {
  count = split("the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you were all her she there would their we him been has when who will no more if out so said what up its about than into them can only other time new some could these two may first then do any like my now over such our man me even most made after also did many off before must well back through years where much your way down should because long each just state those people too mr how little good world make very year still see own work men day get here old between both life being under three never know same last another while us might great go come since against right came take used himself few house use place during american without again home around small however found mrs part school thought went say general once upon every left war don't does got united number hand course water until always away public something fact less", list, " ")
  while (length(out) < size) {
    block = ""
    while (length(block) < 4096) block = block list[1 + int(next_random() * next_random() * count)] (next_random() < 0.1 ? "\n" : " ")
    out = out block
  }
  return substr(out, 1, size)
}
