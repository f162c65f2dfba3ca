"""completion: a script for the shell, which completes what is typed behind ``python -m bench``.

Shells complete by a command's first word, which is `python` here. So the script takes its turn only where `-m bench`
follows, and leaves every other use of Python to whatever completed it before. The words come from this program: click
is asked for them through the environment.
"""

from __future__ import annotations

import click

from bench.cli import COMPLETION

PYTHONS = ("python", "python3", "python3.11", "python3.12", "python3.13")
"""Shells complete `.venv/bin/python` as `python`."""

BASH = """\
# Completion of `python -m bench`.  In ~/.bashrc:  eval "$(python -m bench completion bash)"
_bench_complete() {
    if (( COMP_CWORD < 3 )) || [[ ${COMP_WORDS[1]} != -m || ${COMP_WORDS[2]} != bench ]]; then
        local before=${_bench_before[${1##*/}]-}
        if [[ $before ]]; then "$before" "$@"; else compopt -o bashdefault -o default; fi
        return
    fi
    local IFS=$'\\n' type value
    local -a words=()
    # Bash takes the sign in --option=value for a word.
    for value in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do [[ $value == = ]] || words+=("$value"); done
    words+=("${COMP_WORDS[COMP_CWORD]}")
    COMPREPLY=()
    compopt -o nosort 2>/dev/null
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
        esac
    done < <(env COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) %(variable)s=bash_complete \\
        "${1/#\\~/$HOME}" -m bench 2>/dev/null </dev/null)
}
declare -A _bench_before
_bench_register() {
    local name
    for name in %(pythons)s; do
        # What is loaded only when it is first needed would take our place then.
        if declare -F _comp_load >/dev/null; then _comp_load -- "$name"
        elif declare -F _completion_loader >/dev/null; then _completion_loader "$name"; fi
        if [[ $(complete -p "$name" 2>/dev/null) =~ \\ -F\\ ([^ ]+) && ${BASH_REMATCH[1]} != _bench_complete ]]; then
            _bench_before[$name]=${BASH_REMATCH[1]}
        fi
        complete -F _bench_complete "$name"
    done
} 2>/dev/null
_bench_register
"""

ZSH = """\
# Completion of `python -m bench`.  In ~/.zshrc:  eval "$(python -m bench completion zsh)"
_bench_complete() {
    if (( CURRENT < 4 )) || [[ ${words[2]} != -m || ${words[3]} != bench ]]; then
        if (( $+functions[_python] )); then _python "$@"; else _default "$@"; fi
        return
    fi
    local type value about
    local -a plain described
    while read -r type && read -r value && read -r about; do
        case $type in
            plain) if [[ $about == _ ]]; then plain+=("$value"); else described+=("$value:$about"); fi ;;
            file) _files ;;
            dir) _files -/ ;;
        esac
    done < <(env COMP_WORDS="${(F)words[3,-1]}" COMP_CWORD=$((CURRENT - 3)) %(variable)s=zsh_complete \\
        "${words[1]/#\\~/$HOME}" -m bench 2>/dev/null </dev/null)
    if (( $#described )); then _describe -V 'python -m bench' described; fi
    if (( $#plain )); then compadd -V bench -a plain; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _bench_complete %(pythons)s
"""

FISH = """\
# Completion of `python -m bench`.  In ~/.config/fish/config.fish:  python -m bench completion fish | source
function __bench_is_meant
    set -l words (commandline -opc)
    test (count $words) -ge 3; and test "$words[2]" = -m; and test "$words[3]" = bench
end
function __bench_complete
    set -l words (commandline -opc)
    set -l python (string replace -r '^~' "$HOME" -- $words[1])
    set -l typed (string join ' ' -- (string escape -- $words[3..-1]))
    for line in (env COMP_WORDS="$typed" COMP_CWORD=(commandline -ct) %(variable)s=fish_complete \\
            $python -m bench 2>/dev/null </dev/null)
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case plain
                echo $parts[2]
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
        end
    end
end
for name in %(pythons)s
    complete -c $name -n __bench_is_meant -f -k -a '(__bench_complete)'
end
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@click.command("completion", epilog='Example: eval "$(python -m bench completion bash)"')
@click.argument("shell", type=click.Choice(list(SCRIPTS)))
def completion_command(shell: str) -> None:
    """Print the script by which SHELL completes commands and names.

    It completes what follows `python -m bench`, whichever Python that is, as long as these are its first words. Its
    first line says where to load it.
    """
    click.echo(SCRIPTS[shell] % {"variable": COMPLETION, "pythons": " ".join(PYTHONS)}, nl=False)
