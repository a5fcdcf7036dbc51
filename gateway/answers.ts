/** What `kith gateway` can ask a gateway that runs, and the answers. */
import type { Clock, GatewayDevice } from '../node/index.ts'
import { aboutGateway, type Bridge } from './bridge.ts'
import type { DownlinkCounts } from './downlink.ts'
import { createDrill } from './drill.ts'
import type { Answers } from './local.ts'
import type { Refusal } from './policy-rights.ts'
import type { SinkState } from './outbox/outbox.ts'
import { previewOf, type Preview } from './samples.ts'
import { isShared } from './turns.ts'

export interface SinkStatus {
  readonly sink: string
  readonly type: string
  /** `idle`: nothing may leave to it. `stands-by`: another gateway of the home sends, or will. */
  readonly state: 'runs' | 'away' | 'stands-by' | 'idle' | 'fault'
  readonly why?: string
  /** Name of the gateway that sends, this one too; absent where none does or it is not known. */
  readonly holder?: string
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

interface Deps {
  readonly device: GatewayDevice
  readonly bridge: Bridge
  readonly clock: Clock
}

export function answersOf(deps: Deps): Answers {
  return {
    status: () => statusOf(deps),
    policy: () => preview(deps),
    egress: () => deps.bridge.egress(),
    verify: () => deps.bridge.verify(),
    drill: createDrill(deps),
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
    const holder = isShared({ type }) ? device.leases.holder(name)?.name : undefined
    const runs = bridge.sinks.names().includes(name)
    const now = stateOf(runs, fault, state?.down)
    return {
      sink: name,
      type,
      state: now === 'idle' && device.leases.wants(name) ? 'stands-by' : now,
      ...(why === undefined ? {} : { why }),
      ...(holder === undefined ? {} : { holder }),
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
