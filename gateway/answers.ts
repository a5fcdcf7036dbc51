/** What `kith gateway` can ask a gateway that runs, and the answers. */
import { isTable, NodeError, type Clock, type GatewayDevice } from '../node/index.ts'
import { aboutGateway, type Bridge } from './bridge.ts'
import type { DownlinkCounts } from './downlink.ts'
import type { Answers } from './local.ts'
import type { Refusal } from './policy-rights.ts'
import type { SinkState } from './outbox/outbox.ts'
import { previewOf, type Preview } from './samples.ts'

export interface SinkStatus {
  readonly sink: string
  readonly type: string
  /** `idle`: nothing may leave to it. */
  readonly state: 'runs' | 'away' | 'idle' | 'fault'
  readonly why?: string
  readonly waiting: number
  readonly waitingBytes: number
  readonly oldestMs?: number
  readonly sent: number
  readonly dropped: number
  readonly aside: number
  readonly asked?: DownlinkCounts
}

export interface GatewayStatus {
  readonly gateway: string
  readonly home: string | null
  /** Caps that an owner signed. */
  readonly signed: readonly string[]
  readonly refusals: readonly Refusal[]
  /** Why gateway.toml as it is now is not in force. */
  readonly fault: string | null
  readonly rules: string
  readonly sinks: readonly SinkStatus[]
}

export interface DrillResult {
  readonly ms: number
  /** What did not work, all of it outside the home. */
  readonly stopped: readonly string[]
  readonly worked: readonly string[]
}

interface Deps {
  readonly device: GatewayDevice
  readonly bridge: Bridge
  readonly clock: Clock
}

const MAX_DRILL_MS = 3_600_000

export function answersOf(deps: Deps): Answers {
  return {
    status: () => statusOf(deps),
    policy: () => preview(deps),
    egress: () => deps.bridge.egress(),
    verify: () => deps.bridge.verify(),
    drill: (body, signal) => drill(deps, body, signal),
  }
}

function statusOf({ device, bridge }: Deps): GatewayStatus {
  const states = new Map(bridge.outbox.state().map((one) => [one.sink, one]))
  const self = device.devices().find((one) => one.self)
  const sinks = bridge.rules.now().sinks.map(({ name, type }): SinkStatus => {
    const state = states.get(name)
    const fault = bridge.sinks.faults().get(name)
    const asked = bridge.downlink.counts().get(name)
    const why = fault ?? state?.down
    return {
      sink: name,
      type,
      state: stateOf(bridge.sinks.names().includes(name), fault, state?.down),
      ...(why === undefined ? {} : { why }),
      ...countsOf(state),
      ...(asked === undefined ? {} : { asked }),
    }
  })
  return {
    gateway: self?.name ?? '',
    home: device.home()?.name ?? null,
    signed: device.policy().caps,
    refusals: bridge.policy().refusals,
    fault: bridge.rules.fault() ?? null,
    rules: bridge.rules.path,
    sinks,
  }
}

type Counts = Pick<
  SinkStatus,
  'waiting' | 'waitingBytes' | 'oldestMs' | 'sent' | 'dropped' | 'aside'
>

function countsOf(state: SinkState | undefined): Counts {
  if (state === undefined) return { waiting: 0, waitingBytes: 0, sent: 0, dropped: 0, aside: 0 }
  const { items, bytes, sent, dropped, aside, oldestMs } = state
  const counts = { waiting: items, waitingBytes: bytes, sent, dropped, aside }
  return oldestMs === undefined ? counts : { ...counts, oldestMs }
}

function stateOf(
  runs: boolean,
  fault: string | undefined,
  down: string | undefined,
): SinkStatus['state'] {
  if (fault !== undefined) return 'fault'
  if (!runs) return 'idle'
  return down === undefined ? 'runs' : 'away'
}

async function preview({ device, bridge }: Deps): Promise<Preview> {
  return await previewOf({
    settings: bridge.rules.now(),
    signed: device.policy().caps,
    devices: device.devices(),
    directory: bridge.directory,
    known: bridge.known(),
    gateway: aboutGateway(device),
  })
}

/** Cuts what is outside of the home for a while, and tells what that stopped. */
async function drill(
  { device, bridge, clock }: Deps,
  body: unknown,
  signal: AbortSignal,
): Promise<DrillResult> {
  const ms = isTable(body) ? body['ms'] : undefined
  if (typeof ms !== 'number' || !Number.isInteger(ms) || ms < 1000 || ms > MAX_DRILL_MS) {
    throw new NodeError('NODE_USAGE', 'A drill takes from 1s to 1h.')
  }
  const running = bridge.sinks.names()
  const before = bridge.taken()
  await bridge.sinks.cut(true)
  try {
    await clock.sleep(ms, signal)
  } finally {
    await bridge.sinks.cut(false)
  }
  const taken = bridge.taken() - before
  const there = device.devices().filter(({ state, self }) => !self && state !== 'lost')
  const lost = device.devices().filter(({ state }) => state === 'lost')
  return {
    ms,
    stopped: [
      ...running.map((name) => `sink ${name}: nothing left; what came waits in the outbox`),
      ...lost.map(({ name }) => `${name} is lost`),
    ],
    worked: [
      `the mesh: ${there.length} other devices of the home are there`,
      `readings: ${taken} came over the mesh meanwhile`,
      'the device, its local API and its pairing',
    ],
  }
}
