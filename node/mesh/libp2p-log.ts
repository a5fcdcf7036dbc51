/** libp2p's loggers on pino, at debug level alone: what libp2p calls an error is news about a peer. */
import type { ComponentLogger, Logger as Libp2pLogger } from '@libp2p/interface'
import type { Logger } from 'pino'

export function libp2pLogger(log: Logger): ComponentLogger {
  return { forComponent: (component) => scoped(log, component) }
}

function scoped(log: Logger, component: string): Libp2pLogger {
  const enabled = log.isLevelEnabled('debug')
  const tracing = log.isLevelEnabled('trace')
  const write =
    (level: 'debug' | 'trace', on: boolean) =>
    (format: unknown, ...facts: unknown[]): void => {
      if (on) log[level]({ component, facts: [format, ...facts].map(describe) }, 'libp2p')
    }
  return Object.assign(write('debug', enabled), {
    error: write('debug', enabled),
    trace: write('trace', tracing),
    enabled,
    newScope: (name: string) => scoped(log, `${component}:${name}`),
  })
}

function describe(fact: unknown): string {
  return fact instanceof Error ? `${fact.name}: ${fact.message}` : String(fact)
}
