/** Questions to a person at a terminal. They go to standard error: standard output is the result's. */
import process from 'node:process'

import { NodeError } from '../errors.ts'
import type { Cli } from './context.ts'

/** @throws NodeError NODE_USAGE where the person gives up */
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
  if (isCancel(answer)) throw gaveUp()
  return answer.trim()
}

/** Returns only after a yes; --yes is one. @throws NodeError NODE_USAGE where nobody is there to ask */
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
  if (yes !== true) throw gaveUp()
}

function gaveUp(): NodeError {
  return new NodeError('NODE_USAGE', 'Stopped. Nothing was changed.')
}
