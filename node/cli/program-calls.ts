/** The commands that use devices. Part of program.ts. */
import type { Command } from 'commander'

import type { Run } from './commanding.ts'
import type { Cli } from './context.ts'
import type { UseOptions } from './commands/use.ts'

const TTL = '--ttl <duration>'
const TTL_TEXT = 'how long it may wait for a device that sleeps, like 1h'
const WAIT_TEXT = 'wait for the answer of a device that sleeps'

export function addCalls(program: Command, run: Run): void {
  const load = async () => import('./commands/use.ts')
  program
    .command('describe')
    .argument('<device>')
    .description('what a device lets this one read, set, call and observe')
    .action(run(async () => (await import('./commands/describe.ts')).describe))
  program
    .command('get')
    .argument('<device>')
    .argument('<name>', 'a property')
    .description('read a property')
    .option(TTL, TTL_TEXT)
    .option('--wait', WAIT_TEXT)
    .action(run(async () => (await load()).get, { long: true }))
  program
    .command('set')
    .argument('<device>')
    .argument('<name>', 'a property')
    .argument('<value>', 'JSON, or a word where the device takes text')
    .description('give a property another value')
    .option(TTL, TTL_TEXT)
    .option('--wait', WAIT_TEXT)
    .action(
      run(
        async () => {
          const { set } = await load()
          return (cli: Cli, ref: string, name: string, ...[typed, options]: [string, UseOptions]) =>
            set(cli, [ref, name], typed, options)
        },
        { long: true },
      ),
    )
  program
    .command('call')
    .argument('<device>')
    .argument('<name>', 'an action')
    .argument('[value]', 'JSON, or a word where the device takes text')
    .description('have a device do something')
    .option(TTL, TTL_TEXT)
    .option('--wait', WAIT_TEXT)
    .action(
      run(
        async () => {
          const { call } = await load()
          type Rest = [string | undefined, UseOptions]
          return (cli: Cli, ref: string, name: string, ...[typed, options]: Rest) =>
            call(cli, [ref, name], typed, options)
        },
        { long: true },
      ),
    )
  program
    .command('observe')
    .argument('<device>')
    .argument('<name>', 'a property or an event')
    .description('changes of a property, or events, as they come')
    .action(run(async () => (await load()).observe, { long: true }))
  addAccounts(program, run)
}

function addAccounts(program: Command, run: Run): void {
  const load = async () => import('./commands/calls.ts')
  const calls = program
    .command('calls')
    .description('calls of this device, and what became of them')
  calls.action(run(async () => (await load()).calls))
  calls
    .command('list')
    .description('calls of this device, and what became of them')
    .action(run(async () => (await load()).calls))
  calls
    .command('cancel')
    .argument('<call>', 'the beginning of its id')
    .description('take back a call that has not been executed')
    .action(run(async () => (await load()).cancel))
  program
    .command('why')
    .argument('<device>')
    .argument('[name]', 'a property or an action')
    .description('what a device did, who called for it, and for what reason')
    .option('--limit <n>', 'the newest so many, up to 1000; 20 without it')
    .action(run(async () => (await load()).why))
  program
    .command('power')
    .description("what this device's battery is spent on, and how long it may last")
    .action(run(async () => (await import('./commands/power.ts')).power))
}
