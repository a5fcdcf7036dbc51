/**
 * The rules in force: gateway.toml, watched. A change takes effect at once; a file with a mistake is
 * told of and changes nothing, so that the last good one goes on.
 */
import { dirname, join } from 'node:path'

import {
  asError,
  NodeError,
  readConfigFile,
  watchFile,
  type Clock,
  type ConfigProblem,
  type Logger,
} from '../node/index.ts'
import { readGatewayText, type GatewaySettings } from './config.ts'

export interface Rules {
  readonly path: string
  now(): GatewaySettings
  /** Why the file as it is now is not in force; undefined where it is. */
  fault(): string | undefined
}

/** Beside the device's settings. */
export function rulesPath(configFile: string): string {
  return join(dirname(configFile), 'gateway.toml')
}

/** A missing file has no rules. @throws NodeError NODE_CONFIG with every mistake and its line */
export async function readRules(path: string): Promise<GatewaySettings> {
  const text = readGatewayText(await readConfigFile(path, false))
  if (text.ok) return text.settings
  throw new NodeError('NODE_CONFIG', text.problems.map((one) => spoken(path, one)).join('\n'), {
    hint: 'Nothing was changed. Mend the file, then try: kith gateway policy --dry-run',
  })
}

function spoken(path: string, { key, line, why }: ConfigProblem): string {
  const place = line === undefined ? path : `${path}:${line}`
  return `${place}: ${key === '' ? why : `${key}: ${why}`}`
}

export interface RulesDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly onChange: (settings: GatewaySettings) => void
}

/** A file that is written in place is half there for a moment. */
const SETTLE_MS = 200

/** Until `signal` aborts. @throws NodeError NODE_CONFIG where the first reading finds mistakes */
export async function watchRules(
  path: string,
  { clock, log, onChange }: RulesDeps,
  signal: AbortSignal,
): Promise<Rules> {
  let settings = await readRules(path)
  let fault: string | undefined
  let cancel = (): void => undefined
  signal.addEventListener('abort', () => cancel(), { once: true })
  const look = async (): Promise<void> => {
    try {
      const next = await readRules(path)
      fault = undefined
      if (signal.aborted || JSON.stringify(next) === JSON.stringify(settings)) return
      settings = next
      log.info({ path }, 'the rules are others now')
      onChange(next)
    } catch (error) {
      const why = asError(error).message
      if (why !== fault)
        log.error({ why }, 'the rules have a mistake: the ones before stay in force')
      fault = why
    }
  }
  const lookSoon = (): void => {
    cancel()
    cancel = clock.timer(SETTLE_MS, () => void look())
  }
  watchFile(path, clock, lookSoon, signal)
  return { path, now: () => settings, fault: () => fault }
}
