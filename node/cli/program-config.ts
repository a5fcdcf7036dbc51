/** The commands `kith config …` and `kith completion`. */
import type { Command } from 'commander'

import { oneOf, type Run } from './commanding.ts'
import type { Cli } from './context.ts'

export function addConfig(program: Command, run: Run): void {
  const load = async () => import('./commands/config.ts')
  const config = program.command('config').description('the settings')
  config
    .command('show')
    .description('every setting in force and where it comes from')
    .action(run(async () => (await load()).show))
  config
    .command('set')
    .argument('<key>')
    .argument('<value>', 'lists are separated by commas')
    .description('write a setting to the settings file')
    .action(run(async () => (await load()).set))
  config
    .command('validate')
    .argument('[file]')
    .description('check the settings file, or another one')
    .action(run(async () => (await load()).validate))
  config
    .command('schema')
    .description('every setting that there is')
    .option('--markdown', 'as a table for documents')
    .action(run(async () => (await load()).schema))
}

export function addCompletion(program: Command, run: Run): void {
  program
    .command('completion')
    .argument('<shell>', 'bash, zsh or fish', oneOf(['bash', 'zsh', 'fish']))
    .description('print completions for a shell')
    .action(
      run(async () => {
        const { completion } = await import('./commands/completion.ts')
        return (cli: Cli, shell: string) => completion(cli, shell, program)
      }),
    )
}
