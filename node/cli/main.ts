/** The `kith` command: reads the arguments, runs one command, and turns what failed into text and an exit code. */
import process from 'node:process'

import { CommanderError } from 'commander'

import type { Problem } from '../api/problem.ts'
import { EXIT } from '../errors.ts'
import { isOn } from './context.ts'
import { errorProblem, errorText, exitOf } from './print.ts'
import { createProgram } from './program.ts'

/** As shells count a process that a signal ended: 128 and the signal's number. */
const EXIT_INTERRUPTED = 130

class Interrupted extends Error {}

async function main(argv: readonly string[]): Promise<void> {
  const interrupt = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      // The second time the person means it.
      if (interrupt.signal.aborted) process.exit(EXIT_INTERRUPTED)
      interrupt.abort(new Interrupted())
    })
  }
  // `kith history | head`: the reader has enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(EXIT.ok)
  })
  try {
    await createProgram(process.env, interrupt.signal).parseAsync(argv)
  } catch (error) {
    process.exitCode = report(error, argv)
  }
}

function report(error: unknown, argv: readonly string[]): number {
  if (error instanceof Interrupted) return EXIT_INTERRUPTED
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok
  // Help that was shown because no command was given.
  if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage
  const problem = error instanceof CommanderError ? usageProblem(error) : errorProblem(error)
  const json = argv.includes('--json') || isOn(process.env['KITH_JSON'])
  process.stderr.write(`${errorText(problem, json)}\n`)
  const verbose = argv.includes('-v') || argv.includes('--verbose')
  if (verbose && !json && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  return exitOf(problem)
}

function usageProblem({ message }: CommanderError): Problem {
  const title = message.replace(/^error: /, '')
  return { status: 400, code: 'NODE_USAGE', title, detail: 'See: kith --help' }
}

await main(process.argv)
