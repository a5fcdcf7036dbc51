/** What the tables of commands share: how a command is run, and how its options are read. */
import { InvalidArgumentError } from 'commander'

import type { Cli } from './context.ts'

export type Action = (cli: Cli, ...args: never[]) => Promise<void> | void

/** `run(load)` makes a commander action of a command function: (cli, ...arguments, options). */
export type Run = (
  load: () => Promise<Action>,
  options?: { readonly long?: boolean; readonly takesVersion?: boolean },
) => (...args: unknown[]) => Promise<void>

export function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value]
}

export function oneOf(choices: readonly string[]): (value: string) => string {
  return (value) => {
    if (choices.includes(value)) return value
    throw new InvalidArgumentError(`It must be one of ${choices.join(', ')}.`)
  }
}
