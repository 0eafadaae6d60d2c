# Completion of conex for bash.
_conex() {
    local line="${COMP_LINE:0:COMP_POINT}" current candidate breaks cut=""
    local -a words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current="${words[${#words[@]} - 1]}"
    # bash replaces only what stands after the last of these.
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=":"
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+="="
    [[ $COMP_WORDBREAKS == *@* ]] && breaks+="@"
    [[ -n $breaks && $current == *["$breaks"]* ]] && cut="${current%"${current##*["$breaks"]}"}"
    COMPREPLY=()
    while IFS= read -r candidate; do
        [[ $candidate == *[:/=] ]] && compopt -o nospace 2>/dev/null
        COMPREPLY+=("${candidate#"$cut"}")
    done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _conex conex
