/** A passphrase that a person types unseen. */
import process from 'node:process'

import { NodeError } from '../errors.ts'
import { EXIT_INTERRUPTED, Stopped, type Cli } from './context.ts'

/** @throws Stopped where the person gives up; NodeError NODE_USAGE where nobody is there to ask */
export async function askSecret(cli: Cli, message: string): Promise<string> {
  if (!cli.terminal || cli.options.json) {
    throw new NodeError('NODE_USAGE', 'The passphrase is missing.', {
      hint: 'Run it at a terminal, or read it from a file: --passphrase-file FILE',
    })
  }
  const { isCancel, password } = await import('@clack/prompts')
  const typed = await password({ message, output: process.stderr, signal: cli.signal })
  cli.signal.throwIfAborted()
  if (isCancel(typed)) throw new Stopped(EXIT_INTERRUPTED, 'Stopped. Nothing was changed.')
  if (typed !== '') return typed
  throw new NodeError('NODE_USAGE', 'The passphrase is empty.')
}
