/** What every command works with: its options, its output and the running device. */
import { existsSync } from 'node:fs'
import { homedir, hostname } from 'node:os'
import process from 'node:process'

import { createClient, type ApiClient } from '../api/client.ts'
import { parseDuration } from '../config-values.ts'
import type { ConfigInputs } from '../config.ts'
import { systemClock, type Clock } from '../env.ts'
import { NodeError } from '../errors.ts'
import { resolvePaths, SYSTEM_PATHS } from '../paths.ts'

export interface GlobalOptions {
  readonly configFile: string | undefined
  readonly dataDir: string | undefined
  readonly json: boolean
  readonly quiet: boolean
  readonly verbose: boolean
  readonly yes: boolean
  readonly timeoutMs: number | undefined
  readonly color: boolean
}

export interface Cli {
  readonly options: GlobalOptions
  readonly clock: Clock
  /** Whether a person sits there: prompts and progress. */
  readonly terminal: boolean
  /** Aborts at --timeout, Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal
  /** The device that runs here. Asks nothing before its first method is called. */
  readonly client: ApiClient
  readonly socketPath: string
  readonly configInputs: ConfigInputs
  /** The command's one result: a JSON document with --json, else text. */
  result(value: unknown, text: () => string): void
  /** One row of a stream. */
  row(value: unknown, text: () => string): void
  /** Part of a document that is the same with --json and without. */
  raw(text: string | Uint8Array): void
  /** For people only: not with --json, not with --quiet. On standard error. */
  note(text: string): void
}

const MAX_TIMEOUT_MS = 24 * 60 * 60_000

/** A person stopped it: an ordinary end, with nothing to explain. */
export class Stopped extends Error {
  readonly exit: number

  constructor(exit: number, message = '') {
    super(message)
    this.exit = exit
  }
}

/** As shells count a process that a signal ended: 128 and the signal's number. */
export const EXIT_INTERRUPTED = 130

type Flags = Readonly<Record<string, unknown>>
type Environment = Readonly<Record<string, string | undefined>>

/** Flags, or else their KITH_ twins. @throws NodeError NODE_USAGE */
export function globalOptions(flags: Flags, env: Environment): GlobalOptions {
  const on = (name: string): boolean => flags[name] === true || isOn(env[twin(name)])
  const text = (name: string): string | undefined => {
    const value = flags[name] ?? env[twin(name)]
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const timeout = text('timeout')
  return {
    configFile: text('config'),
    dataDir: text('dataDir'),
    json: on('json'),
    quiet: on('quiet'),
    verbose: on('verbose'),
    yes: on('yes'),
    timeoutMs: timeout === undefined ? undefined : timeoutMs(timeout),
    color:
      flags['color'] !== false &&
      !isOn(env['KITH_NO_COLOR']) &&
      (env['NO_COLOR'] ?? '') === '' &&
      env['TERM'] !== 'dumb' &&
      process.stdout.isTTY,
  }
}

/** The environment's name of a global flag, `KITH_DATA_DIR` for `dataDir`. */
function twin(name: string): string {
  return `KITH_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

export function isOn(value: string | undefined): boolean {
  return value !== undefined && !['', '0', 'false', 'no'].includes(value.toLowerCase())
}

function timeoutMs(text: string): number {
  const ms = parseDuration(text)
  if (ms !== undefined && ms > 0 && ms <= MAX_TIMEOUT_MS) return ms
  throw new NodeError('NODE_USAGE', `--timeout ${text} is no duration.`, {
    hint: 'Write it like 10s or 2m.',
  })
}

export interface CliInputs {
  readonly options: GlobalOptions
  readonly env: Environment
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly interrupted: AbortSignal
  /** Used where no --timeout is given; undefined for none. */
  readonly defaultTimeoutMs: number | undefined
}

export function createCli({ options, env, interrupted, defaultTimeoutMs }: CliInputs): Cli {
  const signal = deadline(options.timeoutMs ?? defaultTimeoutMs, interrupted)
  const configInputs = {
    env,
    homeDir: homedir(),
    hostName: hostname(),
    uid: process.getuid?.() ?? -1,
    dataDir: options.dataDir,
    configFile: options.configFile,
  }
  const socket = socketPath(configInputs)
  const out = (value: unknown, text: () => string): void => {
    const shown = options.json ? JSON.stringify(value) : text()
    if (shown !== '') process.stdout.write(`${shown}\n`)
  }
  return {
    options,
    clock: systemClock,
    terminal: process.stdin.isTTY && process.stderr.isTTY,
    signal,
    client: createClient(socket, signal),
    socketPath: socket,
    configInputs,
    result: out,
    row: out,
    raw: (text) => void process.stdout.write(text),
    note(text) {
      if (!options.json && !options.quiet) process.stderr.write(`${text}\n`)
    },
  }
}

function deadline(ms: number | undefined, interrupted: AbortSignal): AbortSignal {
  if (ms === undefined) return interrupted
  const stop = new AbortController()
  systemClock.timer(ms, () =>
    stop.abort(
      new NodeError('NODE_TIMEOUT', `There was no answer within ${ms / 1000} s.`, {
        hint: 'Try again, or give it longer with --timeout. See also: kith doctor',
      }),
    ),
  )
  return AbortSignal.any([interrupted, stop.signal])
}

/** This user's device, or else the one that the system runs. */
function socketPath(inputs: ConfigInputs): string {
  const { socket } = resolvePaths(inputs)
  const explicit = inputs.dataDir !== undefined
  return !explicit && !existsSync(socket) && existsSync(SYSTEM_PATHS.socket)
    ? SYSTEM_PATHS.socket
    : socket
}

/** Whether --timeout ended the command. */
export function isTimeout(reason: unknown): boolean {
  return reason instanceof NodeError && reason.code === 'NODE_TIMEOUT'
}
