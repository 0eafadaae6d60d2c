# Completion of conex for fish.
complete -c conex -f -a '(conex __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
