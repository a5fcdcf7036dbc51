/**
 * From the mesh to the outbox: takes what the door delivers, asks the rules of that moment, and puts
 * what leaves into the outbox together with how far each device was taken. Only what the outbox has on
 * disk is taken for good; what it does not take stays in the mesh. It sends nothing itself.
 */
import type {
  Clock,
  GatewayCursor,
  GatewayDelivery,
  GatewayPack,
  GatewayReading,
  Logger,
} from '../node/index.ts'
import type { NumberedRule, Policy } from './policy.ts'
import type { OutItem } from './sinks/sink.ts'
import { createThin, type Thin } from './thin.ts'

/** One pack that was taken, and what of it goes to which sink. */
export interface TakenPack {
  readonly deviceId: string
  readonly seq: number
  readonly items: readonly { readonly sink: string; readonly item: OutItem }[]
  /** Its pack was taken before, and these waited for the end of their time. */
  readonly held?: true
}

export interface ForwardDeps {
  readonly clock: Clock
  readonly log: Logger
  readonly deliveries: (
    cursor: GatewayCursor,
    signal: AbortSignal,
  ) => AsyncIterable<GatewayDelivery>
  /** The rules in force: asked again for every pack. */
  readonly policy: () => Policy
  readonly outbox: {
    /** Device id to the number of the last pack that it has on disk. */
    cursor(): GatewayCursor
    /** Resolves when all of it is on disk; waits for as long as there is no room. */
    put(packs: readonly TakenPack[], signal: AbortSignal): Promise<void>
  }
  /** What was seen of the home's sensors: for those who describe devices. */
  readonly onReading?: (reading: GatewayReading) => void
}

interface HeldItem {
  readonly deviceId: string
  readonly seq: number
  readonly sink: string
  readonly item: OutItem
}

/** Packs that go to the outbox in one transaction. */
const BATCH_PACKS = 256

/** Until `signal` aborts. What waits for the end of its time leaves then. */
export async function forward(deps: ForwardDeps, signal: AbortSignal): Promise<void> {
  const { outbox } = deps
  const thin = createThin<HeldItem>()
  const source = deps.deliveries(outbox.cursor(), signal)[Symbol.asyncIterator]()
  try {
    const ahead = { next: source.next() }
    for (;;) {
      const batch: GatewayDelivery[] = []
      const came = await orDue(ahead.next, thin, deps.clock)
      if (came !== 'due') {
        if (came.done === true) break
        batch.push(came.value)
        ahead.next = source.next()
        await gather(source, ahead, batch)
      }
      const packs = batch.flatMap((one) => (one.kind === 'pack' ? [chosen(one, deps, thin)] : []))
      for (const one of batch) if (one.kind === 'gap') tellGap(deps.log, one)
      const late = stillAllowed(thin.due(deps.clock.monotonic()), deps)
      if (packs.length + late.length > 0) await outbox.put([...packs, ...late], signal)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    await source.return?.()
    const rest = stillAllowed(thin.flush(), deps)
    // The end of the process may not wait for a disk that is full.
    if (rest.length > 0)
      await outbox.put(rest, AbortSignal.timeout(LAST_PUT_MS)).catch(() => undefined)
  }
}

const LAST_PUT_MS = 2000

type Next = Promise<IteratorResult<GatewayDelivery>>

/** The next delivery, or `due` where something held is due before it comes. */
async function orDue(
  next: Next,
  thin: Thin<HeldItem>,
  clock: Clock,
): Promise<IteratorResult<GatewayDelivery> | 'due'> {
  const dueMs = thin.nextDueMs()
  if (dueMs === undefined) return await next
  const due = Promise.withResolvers<'due'>()
  const cancel = clock.timer(Math.max(0, dueMs - clock.monotonic()), () => due.resolve('due'))
  try {
    return await Promise.race([next, due.promise])
  } finally {
    cancel()
  }
}

/** What is there already goes into the same transaction. `ahead` is the delivery that is not there yet. */
async function gather(
  source: AsyncIterator<GatewayDelivery>,
  ahead: { next: Next },
  batch: GatewayDelivery[],
): Promise<void> {
  while (batch.length < BATCH_PACKS) {
    const ready = await Promise.race([ahead.next, tick()])
    if (ready === undefined || ready.done === true) return
    batch.push(ready.value)
    ahead.next = source.next()
  }
}

function tick(): Promise<undefined> {
  return new Promise((resolve) => void setImmediate(resolve, undefined))
}

/** The rules may have become narrower while it was held. */
function stillAllowed(held: readonly HeldItem[], { policy }: ForwardDeps): TakenPack[] {
  return held
    .filter(({ sink, item }) => policy().mayLeave(sink, item))
    .map(({ deviceId, seq, sink, item }) => ({
      deviceId,
      seq,
      items: [{ sink, item }],
      held: true,
    }))
}

/** What of one pack leaves now. */
function chosen(pack: GatewayPack, deps: ForwardDeps, thin: Thin<HeldItem>): TakenPack {
  const { clock, onReading } = deps
  const policy = deps.policy()
  const now = { wallMs: clock.now(), monotonicMs: clock.monotonic() }
  const items: { sink: string; item: OutItem }[] = []
  const add = (sink: string, item: OutItem): void => {
    // Two rules may send one reading to one sink.
    if (!items.some((one) => one.sink === sink && one.item.id === item.id))
      items.push({ sink, item })
  }
  if (pack.bytes !== undefined) {
    for (const { sink } of policy.packsFor(pack.deviceId)) add(sink, packItem(pack, pack.bytes))
  }
  for (const reading of pack.readings) {
    onReading?.(reading)
    for (const rule of policy.rulesFor(reading)) {
      const item = readingItem(reading)
      if (rule.everyMs === undefined) {
        add(rule.sink, item)
        continue
      }
      const { deviceId, seq } = reading
      const value = { deviceId, seq, sink: rule.sink, item }
      const timed = { atMs: reading.atMs, value }
      const out = thin.take(keyOf(rule, reading), timed, rule.everyMs, now)
      if (out !== undefined && policy.mayLeave(out.sink, out.item)) add(out.sink, out.item)
    }
  }
  return { deviceId: pack.deviceId, seq: pack.seq, items }
}

function keyOf({ sink, everyMs }: NumberedRule, { deviceId, sensor }: GatewayReading): string {
  return `${sink}\0${everyMs}\0${deviceId}\0${sensor}`
}

export function readingItem(reading: GatewayReading): OutItem {
  const { deviceId, seq, index, name, sensor, unit, value, atMs } = reading
  return {
    id: `${deviceId}/${seq}/${index}`,
    deviceId,
    device: name,
    sensor,
    value,
    atMs,
    ...(unit === undefined ? {} : { unit }),
  }
}

function packItem({ deviceId, seq, name, readings }: GatewayPack, pack: Uint8Array): OutItem {
  const atMs = readings.at(-1)?.atMs ?? 0
  return { id: `${deviceId}/${seq}`, deviceId, device: name, sensor: '', value: '', atMs, pack }
}

function tellGap(
  log: Logger,
  { deviceId, name, from, to }: Extract<GatewayDelivery, { kind: 'gap' }>,
): void {
  log.warn({ device: deviceId, name, from, to }, 'packs are missing in the mesh')
}
