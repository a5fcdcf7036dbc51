/** Shell completions, made from the commands themselves: their names and options, no device is asked. */
import type { Command } from 'commander'

import type { Cli } from '../context.ts'

interface Node {
  /** Words after `kith`, joined by a space; empty for `kith` itself. */
  readonly path: string
  readonly words: readonly string[]
}

export function completion(cli: Cli, shell: string, program: Command): void {
  const nodes = [...walk(program, '')]
  const script = { bash, zsh, fish }[shell] ?? bash
  cli.result({ shell, script: script(nodes) }, () => script(nodes))
}

function* walk(command: Command, path: string): Generator<Node> {
  const children = command.commands.map((child) => child.name())
  // The global flags may stand after any command.
  const own = [command, ...(command.parent === null ? [] : [root(command)])]
  const flags = own.flatMap(({ options }) => options.map(({ long, short }) => long ?? short ?? ''))
  yield { path, words: [...children, ...flags] }
  for (const child of command.commands) {
    yield* walk(child, path === '' ? child.name() : `${path} ${child.name()}`)
  }
}

function root(command: Command): Command {
  return command.parent === null ? command : root(command.parent)
}

function cases(nodes: readonly Node[]): string {
  return nodes.map(({ path, words }) => `    "${path}") words="${words.join(' ')}" ;;`).join('\n')
}

function bash(nodes: readonly Node[]): string {
  return `# kith: bash completion. Use it with: source <(kith completion bash)
_kith() {
  local path="" word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  while :; do
    case "$path" in
${cases(nodes)}
    *" "*) path="\${path% *}"; continue ;;
    *) path=""; continue ;;
    esac
    break
  done
  # Commands first; options only after a dash; else the shell's own file names.
  [[ "\${COMP_WORDS[COMP_CWORD]}" == -* ]] || { words=" $words"; words="\${words%% -*}"; }
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _kith kith`
}

function zsh(nodes: readonly Node[]): string {
  return `#compdef kith
# kith: zsh completion. Use it with: source <(kith completion zsh)
autoload -U +X bashcompinit && bashcompinit
${bash(nodes).split('\n').slice(1).join('\n')}`
}

function fish(nodes: readonly Node[]): string {
  const lines = nodes.flatMap(({ path, words }) => {
    const seen = path.split(' ').filter(Boolean)
    const when =
      seen.length === 0 ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${seen.at(-1)}`
    return words.map((word) =>
      word.startsWith('--')
        ? `complete -c kith -n '${when}' -l ${word.slice(2)}`
        : `complete -c kith -n '${when}' -f -a ${word}`,
    )
  })
  return ['# kith: fish completion. Use it with: kith completion fish | source', ...lines].join(
    '\n',
  )
}
