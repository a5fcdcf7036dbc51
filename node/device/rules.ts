/**
 * Rules in a home: what they hear, whom their names mean, and how their calls go out. They start
 * before the first measurement, so that none is missed; their calls wait until this device can call.
 */
import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import type { SensorValue } from '../condition.ts'
import type { Calls } from '../services/calls/index.ts'
import { startRules, type RuleFailure, type Rules } from '../services/rules/index.ts'
import type { Telemetry } from '../services/telemetry/index.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'

/** How far back the last value of a sensor is looked for: the nearest spans first. */
const LOOK_BACK_MS = [600_000, 86_400_000, 8 * 86_400_000]

export function rulesOf(
  base: DeviceBase,
  { members, mesh, telemetry }: Pick<Home, 'members' | 'mesh' | 'telemetry'>,
  calls: Promise<Pick<Calls, 'call'>>,
  signal: AbortSignal,
): Rules {
  const { clock, config, signer } = base
  const { events } = telemetry
  const log = base.log.child({ part: 'rules' })
  return startRules(
    {
      rules: config.things.rules,
      self: signer.key,
      resolve: directoryOf(members, signal),
      onMeasured: (listener) => events.on('measured', listener, signal),
      onReading: (listener) =>
        events.on('reading', (one) => void (one.verified && listener(one)), signal),
      onGone: (listener) => mesh.events.on('disconnect', ({ key }) => listener(key), signal),
      before: (device, sensor) => newestValue(telemetry, { device, sensor, nowMs: clock.now() }),
      logged: () => (telemetry.flushNow() ? telemetry.lastSeq(signer.key) : 0),
      call: async (wish, until) => (await unless(until, calls)).call(wish, until),
      onFailed(failure) {
        log.warn({ failure }, 'rule did not work')
        base.journal.record('rule.failed', dataOf(failure))
      },
      clock,
      log,
    },
    signal,
  )
}

function dataOf({ rule, device, name, why }: RuleFailure): Readonly<Record<string, unknown>> {
  return { rule, why, ...(device && { device }), ...(name && { name }) }
}

/**
 * The device of this whole name, fingerprint or peer id. Never the beginning of one: a rule is not
 * there to see which device was meant instead.
 */
export function directoryOf(
  members: Pick<Home['members'], 'active' | 'events'>,
  signal: AbortSignal,
): (name: string) => Uint8Array | undefined {
  let byName: ReadonlyMap<string, Uint8Array | undefined> | undefined
  members.events.on('change', () => (byName = undefined), signal)
  return (name) => {
    byName ??= namesOf(members.active())
    return byName.get(fold(name))
  }
}

function namesOf(
  devices: readonly { readonly key: Uint8Array; readonly name: string }[],
): ReadonlyMap<string, Uint8Array | undefined> {
  const found = new Map<string, Uint8Array | undefined>()
  for (const { key, name } of devices) {
    for (const one of new Set([name, fingerprintOf(key), peerIdOf(key)].map(fold))) {
      // Whom a name means that two have is not known.
      found.set(one, found.has(one) ? undefined : key)
    }
  }
  return found
}

function fold(name: string): string {
  return name.normalize('NFC').toLowerCase()
}

/** What the sensor said last, of all that is kept of the last days. */
export function newestValue(
  telemetry: Pick<Telemetry, 'history'>,
  about: { readonly device: Uint8Array; readonly sensor: string; readonly nowMs: number },
): SensorValue | undefined {
  const { nowMs, ...query } = about
  for (const spanMs of LOOK_BACK_MS) {
    const value = newestSince(telemetry, { ...query, sinceMs: nowMs - spanMs, untilMs: nowMs + 1 })
    if (value !== undefined) return value
  }
  return undefined
}

/** Readings come oldest first, and only so many at once. */
function newestSince(
  telemetry: Pick<Telemetry, 'history'>,
  query: Parameters<Telemetry['history']>[0],
): SensorValue | undefined {
  let newest: { readonly value: SensorValue; readonly atMs: number } | undefined
  for (;;) {
    const sinceMs = newest === undefined ? query.sinceMs : newest.atMs + 1
    const rows = telemetry.history({ ...query, sinceMs })
    const last = rows.findLast((row) => row.kind === 'reading')
    if (last === undefined) return newest?.value
    newest = last
  }
}

/** @throws the signal's reason where that aborts first */
function unless<T>(signal: AbortSignal, wanted: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason as Error)
    if (signal.aborted) aborted()
    signal.addEventListener('abort', aborted, { once: true })
    wanted.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted))
  })
}
