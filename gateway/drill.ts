/**
 * `kith drill --no-internet`: the outside of this gateway is cut — its sinks, and the names that lead
 * out — and what stopped is looked for: which devices are still there and answer, whose readings came,
 * what could not leave.
 */
import { asError, isTable, NodeError, type Clock, type GatewayDevice } from '../node/index.ts'
import type { Bridge } from './bridge.ts'
import { cutResolver } from './resolver.ts'
import type { OutItem } from './sinks/sink.ts'

export interface DrillResult {
  readonly ms: number
  /** What did not work meanwhile, as it was found. */
  readonly stopped: readonly string[]
  readonly worked: readonly string[]
}

export interface DrillDeps {
  readonly device: Pick<GatewayDevice, 'devices' | 'view'>
  readonly bridge: Pick<Bridge, 'known' | 'outbox' | 'sinks'>
  readonly clock: Clock
}

interface Found {
  readonly stopped: string[]
  readonly worked: string[]
}

const MAX_DRILL_MS = 3_600_000
const ANSWER_MS = 5000

/** One at a time. */
export function createDrill(
  deps: DrillDeps,
): (body: unknown, signal: AbortSignal) => Promise<DrillResult> {
  let running = false
  return async (body, signal) => {
    const ms = isTable(body) ? body['ms'] : undefined
    if (typeof ms !== 'number' || !Number.isInteger(ms) || ms < 1000 || ms > MAX_DRILL_MS) {
      throw new NodeError('NODE_USAGE', 'A drill takes from 1s to 1h.')
    }
    if (running) throw new NodeError('NODE_CONFLICT', 'A drill runs already.')
    running = true
    try {
      return { ms, ...(await run(deps, ms, signal)) }
    } finally {
      running = false
    }
  }
}

async function run(deps: DrillDeps, ms: number, signal: AbortSignal): Promise<Found> {
  const { bridge, clock, device } = deps
  const sinks = bridge.sinks.names()
  const waiting = waitingIn(deps)
  const before = new Map(bridge.known().map((item) => [keyOf(item), item.id]))
  const there = new Set(othersThere(deps).map(({ id }) => id))
  const found: Found = { stopped: [], worked: [] }
  using resolver = cutResolver()
  try {
    await bridge.sinks.cut(true)
    await clock.sleep(ms, signal)
    for (const sink of sinks) {
      const more = (waitingIn(deps).get(sink) ?? 0) - (waiting.get(sink) ?? 0)
      const runs = bridge.sinks.names().includes(sink)
      if (runs) found.worked.push(`sink ${sink}`)
      else found.stopped.push(`sink ${sink}: ${more} more wait on disk, and leave when it is back`)
    }
    for (const name of resolver.asked) found.stopped.push(`${name} was asked for, outside`)
    for (const { id, name } of device.devices()) {
      const now = othersThere(deps).some((one) => one.id === id)
      if (there.has(id) && !now) found.stopped.push(`${name}: it is not there any more`)
    }
    tellReadings(deps, before, found)
    await tellAnswers(deps, found, signal)
  } finally {
    await bridge.sinks.cut(false)
  }
  return found
}

function othersThere({ device }: DrillDeps): readonly { readonly id: string; name: string }[] {
  return device.devices().filter(({ state, self }) => !self && state === 'online')
}

function waitingIn({ bridge }: DrillDeps): ReadonlyMap<string, number> {
  return new Map(bridge.outbox.state().map(({ sink, items }) => [sink, items]))
}

function keyOf({ deviceId, sensor }: OutItem): string {
  return `${deviceId}/${sensor}`
}

/** Of a device that brought nothing nobody knows whether it would have measured: it is not judged. */
function tellReadings({ bridge }: DrillDeps, before: ReadonlyMap<string, string>, to: Found): void {
  const fresh = bridge.known().filter((item) => before.get(keyOf(item)) !== item.id)
  for (const [device, items] of Map.groupBy(fresh, (item) => item.device)) {
    to.worked.push(`${device}: new readings of ${items.map(({ sensor }) => sensor).join(', ')}`)
  }
}

/** Each device that is there is asked over the mesh for what it offers. */
async function tellAnswers(deps: DrillDeps, to: Found, signal: AbortSignal): Promise<void> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)])
  const asking = othersThere(deps).map(async ({ id, name }) => {
    try {
      const { live } = await deps.device.view.description(id, {}, until)
      if (live) to.worked.push(`${name}: it answers when it is called`)
      else to.stopped.push(`${name}: it does not answer when it is called`)
    } catch (error) {
      to.stopped.push(`${name}: it does not answer when it is called (${asError(error).message})`)
    }
  })
  await Promise.all(asking)
}
