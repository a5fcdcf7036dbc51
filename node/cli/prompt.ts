/** Questions to a person at a terminal. They go to standard error: standard output is the result's. */
import process from 'node:process'

import { ApiError } from '../api/problem.ts'
import { EXIT, NodeError } from '../errors.ts'
import { EXIT_INTERRUPTED, Stopped, type Cli } from './context.ts'
import { errorProblem, errorText } from './print.ts'

/** @throws Stopped where the person gives up */
export async function askText(
  cli: Cli,
  message: string,
  validate: (value: string) => string | undefined = () => undefined,
): Promise<string> {
  const { isCancel, text } = await import('@clack/prompts')
  const answer = await text({
    message,
    output: process.stderr,
    signal: cli.signal,
    validate: (value) => validate(value ?? ''),
  })
  cli.signal.throwIfAborted()
  if (isCancel(answer)) throw gaveUp(EXIT_INTERRUPTED)
  return answer.trim()
}

/** Ask, and ask again for as long as `use` finds the answer mistyped. Nothing was done then. */
export async function askUntil<T>(
  cli: Cli,
  message: string,
  use: (typed: string) => Promise<T>,
): Promise<T> {
  for (;;) {
    const typed = await askText(cli, message, (text) =>
      text.trim() === '' ? 'Nothing was typed.' : undefined,
    )
    try {
      return await use(typed)
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'NODE_USAGE') throw error
      cli.note(errorText(errorProblem(error), false))
    }
  }
}

/** Returns only after a yes; --yes is one. @throws Stopped, NodeError NODE_USAGE where nobody is there to ask */
export async function confirm(cli: Cli, message: string): Promise<void> {
  if (cli.options.yes) return
  if (!cli.terminal || cli.options.json) {
    throw new NodeError('NODE_USAGE', 'This needs a yes, and there is no terminal to ask.', {
      hint: 'Nothing was changed. Say it with -y.',
    })
  }
  const prompts = await import('@clack/prompts')
  const yes = await prompts.confirm({
    message,
    initialValue: false,
    output: process.stderr,
    signal: cli.signal,
  })
  cli.signal.throwIfAborted()
  if (prompts.isCancel(yes)) throw gaveUp(EXIT_INTERRUPTED)
  if (!yes) throw gaveUp(EXIT.failed)
}

function gaveUp(exit: number): Stopped {
  return new Stopped(exit, 'Stopped. Nothing was changed.')
}
