#compdef conex
# Completion of conex for zsh.
_conex() {
    local candidate
    local -a whole open
    for candidate in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case "$candidate" in
            '') ;;
            *[:/=]) open+=("$candidate") ;;
            *) whole+=("$candidate") ;;
        esac
    done
    compadd -S '' -- "${open[@]}"
    compadd -- "${whole[@]}"
}
# As a file of $fpath this is the body of the function at its first call; else it is read.
if [[ $funcstack[1] == _conex ]]; then
    _conex "$@"
else
    compdef _conex conex
fi
