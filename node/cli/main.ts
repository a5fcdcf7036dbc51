/** The `kith` command: reads the arguments, runs one command, and turns what failed into text and an exit code. */
import process from 'node:process'

import { CommanderError, type Command } from 'commander'

import type { Problem } from '../api/problem.ts'
import { systemClock } from '../env.ts'
import { EXIT } from '../errors.ts'
import { EXIT_INTERRUPTED, isOn, Stopped } from './context.ts'
import { errorProblem, errorText, exitOf } from './print.ts'
import { createProgram } from './program.ts'

/** One Ctrl-C may arrive twice, from the terminal and from a parent such as npm. */
const TWICE_MS = 500

async function main(argv: readonly string[]): Promise<void> {
  const interrupt = new AbortController()
  let since = 0
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      // The second time the person means it.
      const again = systemClock.monotonic() - since > TWICE_MS
      if (interrupt.signal.aborted && again) process.exit(EXIT_INTERRUPTED)
      since = systemClock.monotonic()
      interrupt.abort(new Stopped(EXIT_INTERRUPTED))
    })
  }
  // `kith history | head`: the reader has enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(EXIT.ok)
  })
  const program = createProgram(process.env, interrupt.signal)
  try {
    await program.parseAsync(argv)
  } catch (error) {
    process.exitCode = report(error, argv, program)
  }
}

function report(error: unknown, argv: readonly string[], program: Command): number {
  if (error instanceof Stopped) {
    if (error.message !== '') process.stderr.write(`kith: ${error.message}\n`)
    return error.exit
  }
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok
  // Help that was shown because no command was given.
  if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage
  const problem = toProblem(error, argv, program)
  const json = argv.includes('--json') || isOn(process.env['KITH_JSON'])
  process.stderr.write(`${errorText(problem, json)}\n`)
  const verbose = argv.includes('-v') || argv.includes('--verbose')
  if (verbose && !json && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  return exitOf(problem)
}

function toProblem(error: unknown, argv: readonly string[], program: Command): Problem {
  if (!(error instanceof CommanderError)) return errorProblem(error)
  return usageProblem(error, commandIn(argv, program))
}

/** The words of the command that was meant, such as `kith history`. */
function commandIn(argv: readonly string[], program: Command): string {
  let command = program
  const words = [program.name()]
  for (const word of argv.slice(2)) {
    const child = command.commands.find((one) => one.name() === word)
    if (child === undefined) continue
    command = child
    words.push(word)
  }
  return words.join(' ')
}

function usageProblem({ message }: CommanderError, command: string): Problem {
  const title = message.replace(/^error: /, '')
  return { status: 400, code: 'NODE_USAGE', title, detail: `See: ${command} --help` }
}

await main(process.argv)
