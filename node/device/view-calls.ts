/** The calls side of `NodeView`: what devices let this one do, doing it, and why things were done. */
import {
  DESCRIPTION,
  modelOf,
  parseJson,
  type Json,
  type ThingModel,
} from '../../protocols/calls/index.ts'
import { keyOfPeerId, peerIdOf } from '../../protocols/identity/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import {
  isUnderway,
  type CallOptions,
  type CallsView,
  type CallView,
  type CauseView,
  type DeviceName,
  type DeviceRow,
  type JsonObject,
  type PropertyValueView,
  type ReceiptView,
  type WhyView,
} from '../api/view.ts'
import type { Clock } from '../env.ts'
import type { CallRecord, Calls, WhyRow } from '../services/calls/index.ts'
import type { DeviceBase } from './base.ts'
import { checkWish, noAnswer, refusal, type Wish } from './call-refusals.ts'
import type { Home } from './home.ts'
import { deviceRows } from './rows.ts'

/** Properties that are read at the same time for a description with values. */
const READS_AT_ONCE = 8
/** A value that takes longer is left out of a description. */
const VALUE_MS = 3000
const WHY_ROWS = 20
/** Others answer at once that they keep a call, where they are there. */
const SAFE_MS = 1000

type Names = (key: Uint8Array) => DeviceName

interface Target {
  readonly clock: Clock
  readonly key: Uint8Array
  readonly row: DeviceRow
  readonly calls: Calls
  readonly names: Names
}

export function callsView(base: DeviceBase, requireHome: () => Home): CallsView {
  const { clock } = base
  const find = (ref: string): Target => targetOf(base, requireHome(), ref)
  const own = (): Calls => requireHome().calls
  const shown = (record: CallRecord): CallView => callView(record, namesIn(requireHome()))

  return {
    async description(ref, { values = false }, signal) {
      const target = find(ref)
      const { id, name } = target.row
      const { text, atMs: at, live } = await target.calls.describe(target.key, signal)
      const description = parseJson(text, DESCRIPTION) as JsonObject
      const told = { device: { id, name }, at, live, description }
      const model = values && live ? modelOf(text) : undefined
      return model === undefined ? told : { ...told, values: await valuesOf(target, model, signal) }
    },
    readProperty: async (ref, name, options, signal) =>
      perform(find(ref), { verb: 'read', name }, options, signal),
    writeProperty: async ({ ref, name }, args, options, signal) =>
      perform(find(ref), { verb: 'write', name, args }, options, signal),
    invokeAction: async ({ ref, name }, args, options, signal) =>
      perform(find(ref), { verb: 'invoke', name, args }, options, signal),
    async *observe(ref, name, signal) {
      const { calls, key } = find(ref)
      for await (const { name: what, value, atMs } of calls.observe(key, name, signal)) {
        yield { name: what, value, at: atMs }
      }
    },
    calls: async () => own().list().map(shown),
    async callById(id, { waitMs = 0 }, signal) {
      const calls = own()
      return shown(await afterWaiting({ calls, clock }, calls.find(id), waitMs, signal))
    },
    async cancelCall(id, signal) {
      const calls = own()
      return shown(await calls.cancel(calls.find(id).id, signal))
    },
    async why(ref, { name, limit = WHY_ROWS }, signal) {
      const { calls, key, names } = find(ref)
      return (await calls.why(key, name, limit, signal)).map((row) => whyView(row, names))
    },
  }
}

function targetOf(base: DeviceBase, home: Home, ref: string): Target {
  const row = resolveDevice(ref, deviceRows(base, home))
  const key = keyOfPeerId(row.id)
  return { clock: base.clock, key, row, calls: home.calls, names: namesIn(home) }
}

/** One call of this device, as people make them. @throws NodeError, as CallsView */
export async function makeCall(
  base: DeviceBase,
  home: Home,
  {
    ref,
    wish,
    options,
  }: { readonly ref: string; readonly wish: Wish; readonly options: CallOptions },
  signal: AbortSignal,
): Promise<CallView> {
  return perform(targetOf(base, home, ref), wish, options, signal)
}

function namesIn({ members }: Home): Names {
  return (key) => {
    const hex = toHex(key)
    const { devices, removed } = members.state
    return { id: peerIdOf(key), name: devices.get(hex)?.name ?? removed.get(hex)?.name ?? '' }
  }
}

/** @throws NodeError for what was executed and is not done, and for what was not answered */
async function perform(
  target: Target,
  wish: Wish,
  { ttlMs, waitMs = 0 }: CallOptions,
  signal: AbortSignal,
): Promise<CallView> {
  const { calls, key, names, row } = target
  // A device that is awake says itself what is wrong.
  const model = row.state === 'online' ? undefined : await modelFor(target, signal)
  if (model !== undefined) checkWish(row.name, wish, model)
  const sent = await calls.call({ ...wish, to: key, ttlMs }, signal)
  const made = await onceSafe(target, sent, signal)
  const record = await afterWaiting(target, made, waitMs, signal)
  if (record.state === 'unknown') throw noAnswer(row.name, record)
  const { receipt } = record
  if (receipt === undefined || receipt.status === 'done') return callView(record, names)
  const offered = receipt.status === 'unknown' ? await modelFor(target, signal) : undefined
  throw refusal(row.name, wish, receipt, offered)
}

/** What the device said last that it has; undefined where that is not known here. */
async function modelFor(
  { calls, clock, key }: Target,
  signal: AbortSignal,
): Promise<ThingModel | undefined> {
  using limit = within(clock, VALUE_MS, signal)
  try {
    const { text } = await calls.describe(key, limit.signal)
    return modelOf(text)
  } catch {
    signal.throwIfAborted()
    return undefined
  }
}

/** Aborts with `signal` or after `ms`; to be disposed of. */
function within(clock: Clock, ms: number, signal: AbortSignal) {
  const over = new AbortController()
  const end = (): void => over.abort(new Error('it took too long'))
  const cancel = clock.timer(ms, end)
  return {
    signal: AbortSignal.any([signal, over.signal]),
    over: over.signal,
    [Symbol.dispose]() {
      cancel()
      end()
    },
  }
}

/** A call that others are about to keep, too, is told once they do, if that is soon. */
async function onceSafe(
  { calls, clock }: Target,
  record: CallRecord,
  signal: AbortSignal,
): Promise<CallRecord> {
  const now = (): CallRecord => calls.find(toHex(record.id))
  if (record.state !== 'queued') return record
  using limit = within(clock, SAFE_MS, signal)
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (now().state !== 'queued') resolve()
    }
    calls.events.on('call', look, limit.signal)
    limit.signal.addEventListener('abort', () => resolve(), { once: true })
    look()
  })
  signal.throwIfAborted()
  return now()
}

/** What can be read is; what cannot, or is too slow, is left out. */
async function valuesOf(
  { calls, clock, key }: Target,
  { properties }: ThingModel,
  signal: AbortSignal,
): Promise<PropertyValueView[]> {
  const waiting = Object.keys(properties).filter((name) => properties[name]?.readable === true)
  const values: PropertyValueView[] = []
  using limit = within(clock, VALUE_MS, signal)
  const work = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const { receipt } = await calls.call({ to: key, verb: 'read', name }, limit.signal)
      if (receipt?.status !== 'done' || receipt.result === undefined) continue
      values.push({ name, value: receipt.result, at: receipt.atMs })
    }
  }
  await Promise.allSettled(Array.from({ length: READS_AT_ONCE }, work))
  signal.throwIfAborted()
  return values.toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** The record once nothing more will become of it, or as it stands after `waitMs`. */
async function afterWaiting(
  { calls, clock }: Pick<Target, 'calls' | 'clock'>,
  record: CallRecord,
  waitMs: number,
  signal: AbortSignal,
): Promise<CallRecord> {
  if (waitMs === 0 || !isUnderway(record)) return record
  using limit = within(clock, waitMs, signal)
  try {
    return await calls.wait(record.id, limit.signal)
  } catch (error) {
    signal.throwIfAborted()
    if (!limit.over.aborted) throw error
    return calls.find(toHex(record.id))
  }
}

export function callView(record: CallRecord, names: Names): CallView {
  const { id, to, verb, name, state, issuedMs, ttlMs, deliversByMs, holders } = record
  const { args, receipt, cause } = record
  return {
    id: toHex(id),
    device: names(to),
    verb,
    name,
    ...withArgs(args),
    state,
    issuedAt: issuedMs,
    expiresAt: issuedMs + ttlMs,
    ...(deliversByMs === undefined ? {} : { deliversBy: deliversByMs }),
    holders: holders.map(names),
    ...(receipt === undefined ? {} : { receipt: receiptView(receipt) }),
    ...(cause === undefined ? {} : { cause: causeView(cause, names) }),
  }
}

function withArgs(args: Json | undefined): { readonly args?: Json } {
  return args === undefined ? {} : { args }
}

type Receipt = NonNullable<CallRecord['receipt']>

function receiptView(receipt: Receipt): ReceiptView {
  const { atMs: at, clock } = receipt
  return { ...outcomeOf(receipt), at, clock }
}

function outcomeOf({ status, result, detail }: Receipt): Omit<ReceiptView, 'at' | 'clock'> {
  return {
    status,
    ...(result === undefined ? {} : { result }),
    ...(detail === undefined ? {} : { detail }),
  }
}

function causeView(cause: NonNullable<CallRecord['cause']>, names: Names): CauseView {
  const { rule, device, sensor, seq, atMs, value } = cause
  return { rule, device: names(device), sensor, seq, at: atMs, value }
}

function whyView(row: WhyRow, names: Names): WhyView {
  const { id, caller, verb, name, args, atMs, cause, receipt } = row
  return {
    id: toHex(id),
    by: names(caller),
    verb,
    name,
    ...withArgs(args),
    ...outcomeOf(receipt),
    at: atMs,
    ...(cause === undefined ? {} : { cause: causeView(cause, names) }),
    verified: true,
  }
}
