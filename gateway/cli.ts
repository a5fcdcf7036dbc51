/** `kith gateway …` and `kith drill`: the commands of the bridge, with the options of all others. */
import process from 'node:process'

import { Command, CommanderError } from 'commander'

import {
  createCli,
  errorProblem,
  errorText,
  EXIT,
  exitOf,
  globalOptions,
  isOn,
  Stopped,
  type Cli,
} from '../node/index.ts'
import { drill, egress, policy, sign, status, up } from './commands.ts'

const SHORT_MS = 30_000
const INTERRUPTED = 130

type Action = (cli: Cli, ...args: never[]) => Promise<void>
type Run = (
  action: Action,
  options?: { readonly long?: boolean },
) => (...args: unknown[]) => Promise<void>

function createProgram(interrupted: AbortSignal): Command {
  const program = new Command('kith')
  const run: Run =
    (action, { long = false } = {}) =>
    async (...args: unknown[]) => {
      const cli = createCli({
        options: globalOptions(program.opts(), process.env),
        env: process.env,
        interrupted,
        defaultTimeoutMs: long ? undefined : SHORT_MS,
      })
      await action(cli, ...(args.slice(0, -1) as never[]))
    }
  program
    .option('-c, --config <file>', 'settings file; gateway.toml is beside it')
    .option('--data-dir <dir>', 'keep key, database, settings and socket in this folder')
    .option('--json', 'JSON on standard output and nothing else there')
    .option('-q, --quiet', 'no remarks')
    .option('-v, --verbose', 'more detail')
    .option('-y, --yes', 'do not ask')
    .option('--timeout <duration>', 'give up after, like 10s')
    .option('--no-color', 'no colours')
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
  addGateway(program, run)
  program
    .command('drill')
    .description('find out what needs the outside: cut it, and tell what stopped')
    .requiredOption('--no-internet <duration>', 'for so long, like 2m')
    .action(run(drill, { long: true }))
  return program
}

function addGateway(program: Command, run: Run): void {
  const gateway = program
    .command('gateway')
    .description(
      'the bridge from the home to other systems; nothing leaves without a rule and an owner’s signature',
    )
  gateway
    .command('up')
    .description('run this gateway in the foreground: the device, and the bridge')
    .option('--set <key=value>', 'a setting for this run; may be repeated', collect, [])
    .action(run(up, { long: true }))
  gateway
    .command('status')
    .description('sinks, what waits for them, and rules that are not in force')
    .action(run(status))
  gateway
    .command('egress')
    .description('what left the home, by sink, device, field and day')
    .option('--verify', 'check the signed rows instead, one by one')
    .action(run(egress))
  const rules = gateway
    .command('policy')
    .description('what leaves by the rules in gateway.toml, and what an owner would sign')
    .option('--dry-run', 'with samples of what would leave, as the sinks would send it')
  rules.action(run(policy))
  rules
    .command('sign')
    .argument('[gateway]', 'the only one, where none is named')
    .description('on an owner’s device: sign what a gateway may have and call')
    .option('--allow <right>', 'like read:temperature.*; may be repeated', collect, [])
    .option('--file <file>', 'what a gateway.toml, or the output of policy --json, asks for')
    .option('--nothing', 'take all of it back')
    .action(run(sign, { long: true }))
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value]
}

async function main(argv: readonly string[]): Promise<void> {
  const interrupt = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (interrupt.signal.aborted) process.exit(INTERRUPTED)
      interrupt.abort(new Stopped(INTERRUPTED))
    })
  }
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(EXIT.ok)
  })
  try {
    await createProgram(interrupt.signal).parseAsync(argv)
  } catch (error) {
    process.exitCode = report(error, argv)
  }
}

function report(error: unknown, argv: readonly string[]): number {
  if (error instanceof Stopped) {
    if (error.message !== '') process.stderr.write(`kith: ${error.message}\n`)
    return error.exit
  }
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok
  if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage
  const problem =
    error instanceof CommanderError
      ? {
          status: 400,
          code: 'NODE_USAGE',
          title: error.message.replace(/^error: /, ''),
          detail: 'See: kith gateway --help',
        }
      : errorProblem(error)
  const json = argv.includes('--json') || isOn(process.env['KITH_JSON'])
  process.stderr.write(`${errorText(problem, json)}\n`)
  return exitOf(problem)
}

await main(process.argv)
