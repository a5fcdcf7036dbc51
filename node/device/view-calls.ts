/** The calls side of `NodeView`: what devices let this one do, doing it, and why things were done. */
import { keyOfPeerId, peerIdOf } from '../../protocols/identity/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import { nearest } from '../api/nearest.ts'
import {
  isUnderway,
  type CallOptions,
  type CallsView,
  type CallView,
  type CauseView,
  type DescriptionView,
  type DeviceName,
  type Json,
  type JsonObject,
  type PropertyValueView,
  type ReceiptView,
  type WhyView,
} from '../api/view.ts'
import { NodeError, type NodeErrorCode } from '../errors.ts'
import type { CallRecord, Calls, WantedCall, WhyRow } from '../services/calls/index.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { deviceRows } from './rows.ts'

/** Properties that are read at the same time for a description with values. */
const READS_AT_ONCE = 8
/** A value that takes longer is left out of a description. */
const VALUE_MS = 3000
const WHY_ROWS = 20

type WithCalls = Home & { readonly calls?: Calls }

/** @throws NodeError NODE_CONFLICT where this device takes no part in calls */
function callsOf({ calls }: WithCalls): Calls {
  if (calls !== undefined) return calls
  throw new NodeError('NODE_CONFLICT', 'This device takes no part in calls.')
}

export function callsView(base: DeviceBase, requireHome: () => Home): CallsView {
  const find = (ref: string): Target => {
    const home = requireHome()
    const { id, name } = resolveDevice(ref, deviceRows(base, home))
    const names = (key: Uint8Array): DeviceName => nameIn(home, key)
    return { key: keyOfPeerId(id), device: { id, name }, calls: callsOf(home), names }
  }
  const here = (): Pick<Target, 'calls' | 'names'> => {
    const home = requireHome()
    return { calls: callsOf(home), names: (key) => nameIn(home, key) }
  }
  const found = (id: string): CallRecord => here().calls.find(id)
  const shown = (record: CallRecord): CallView => callView(record, here().names)

  return {
    description: async (ref, options, signal) => {
      const target = find(ref)
      const told = await describe(target, signal)
      if (options.values !== true || !told.live) return told
      return { ...told, values: await valuesOf(target, told, signal) }
    },
    readProperty: (ref, name, options, signal) =>
      perform(find(ref), { verb: 'read', name, options }, signal),
    writeProperty: ({ ref, name }, args, options, signal) =>
      perform(find(ref), { verb: 'write', name, args, options }, signal),
    invokeAction: ({ ref, name }, args, options, signal) =>
      perform(find(ref), { verb: 'invoke', name, args, options }, signal),
    async *observe(ref, name, signal) {
      const { calls, key } = find(ref)
      for await (const { name: what, value, atMs } of calls.observe(key, name, signal)) {
        yield { name: what, value, at: atMs }
      }
    },
    calls: async () => here().calls.list().map(shown),
    async callById(id, { waitMs = 0 }, signal) {
      const record = found(id)
      return shown(await settled(base, here().calls, record, { waitMs, signal }))
    },
    async cancelCall(id, signal) {
      return shown(await here().calls.cancel(found(id).id, signal))
    },
    async why(ref, { name, limit = WHY_ROWS }, signal) {
      const { calls, key, names } = find(ref)
      return (await calls.why(key, name, limit, signal)).map((row) => whyView(row, names))
    },
  }

  async function perform(target: Target, wanted: Wanted, signal: AbortSignal): Promise<CallView> {
    const { calls, key, names } = target
    const { verb, name, args, options } = wanted
    const { ttlMs, waitMs = 0 } = options
    const to = { to: key, verb, name, ...(args === undefined ? {} : { args }), ttlMs }
    const first = await calls.call(to, signal)
    const record = await settled(base, calls, first, { waitMs, signal })
    if (record.state === 'unknown') throw noAnswer(target, record)
    const { receipt } = record
    if (receipt !== undefined && receipt.status !== 'done') {
      throw await refusal(target, wanted, receipt)
    }
    return callView(record, names)
  }
}

interface Target {
  readonly key: Uint8Array
  readonly device: DeviceName
  readonly calls: Calls
  readonly names: (key: Uint8Array) => DeviceName
}

interface Wanted {
  readonly verb: WantedCall['verb']
  readonly name: string
  readonly args?: Json | undefined
  readonly options: CallOptions
}

function nameIn({ members }: Home, key: Uint8Array): DeviceName {
  const hex = toHex(key)
  const { devices, removed } = members.state
  return { id: peerIdOf(key), name: devices.get(hex)?.name ?? removed.get(hex)?.name ?? '' }
}

async function describe(
  { calls, key, device }: Target,
  signal: AbortSignal,
): Promise<DescriptionView> {
  const { text, atMs, live } = await calls.describe(key, signal)
  return { device, at: atMs, live, description: JSON.parse(text) as JsonObject }
}

/** Names of the properties, actions or events in a Thing Description. */
function membersOf(description: JsonObject, kind: string): ReadonlyMap<string, JsonObject> {
  const found = description[kind]
  return isObject(found)
    ? new Map(
        Object.entries(found).filter((entry): entry is [string, JsonObject] => isObject(entry[1])),
      )
    : new Map()
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What can be read is; what cannot, or is too slow, is left out. */
async function valuesOf(
  { calls, key }: Target,
  { description }: DescriptionView,
  signal: AbortSignal,
): Promise<PropertyValueView[]> {
  const waiting = [...membersOf(description, 'properties')]
    .filter(([, { writeOnly }]) => writeOnly !== true)
    .map(([name]) => name)
  const values: PropertyValueView[] = []
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(VALUE_MS)])
  const work = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const { receipt } = await calls.call({ to: key, verb: 'read', name }, bounded)
      if (receipt?.status !== 'done' || receipt.result === undefined) continue
      values.push({ name, value: receipt.result, at: receipt.atMs })
    }
  }
  await Promise.allSettled(Array.from({ length: READS_AT_ONCE }, work))
  return values.toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** The record once nothing more will become of it, or after `waitMs` as it stands then. */
async function settled(
  { clock }: Pick<DeviceBase, 'clock'>,
  calls: Calls,
  record: CallRecord,
  { waitMs, signal }: { readonly waitMs: number; readonly signal: AbortSignal },
): Promise<CallRecord> {
  if (waitMs === 0 || !isUnderway(record)) return record
  const over = new AbortController()
  const cancel = clock.timer(waitMs, () => over.abort())
  try {
    return await calls.wait(record.id, AbortSignal.any([signal, over.signal]))
  } catch (error) {
    signal.throwIfAborted()
    if (!over.signal.aborted) throw error
    return calls.find(toHex(record.id))
  } finally {
    cancel()
  }
}

function noAnswer({ device }: Target, { id }: CallRecord): NodeError {
  return new NodeError('NODE_TIMEOUT', `${device.name} did not answer.`, {
    hint: `It may have done it all the same: kith calls shows call ${shortId(id)}, and kith why ${device.name} what it did.`,
  })
}

function shortId(id: Uint8Array): string {
  return toHex(id).slice(0, 8)
}

const KINDS = { read: 'property', write: 'property', invoke: 'action' } as const
const MEMBERS = { property: 'properties', action: 'actions' } as const

type Receipt = NonNullable<CallRecord['receipt']>

interface Refusal {
  readonly code: NodeErrorCode
  readonly says: (device: string, name: string) => string
  readonly hint: (device: string, name: string) => string
}

const nothing = (device: string): string =>
  `Nothing was changed. What it has, and takes: kith describe ${device}`

/** Receipts that are not done, for people. */
const REFUSALS: Partial<Readonly<Record<Receipt['status'], Refusal>>> = {
  denied: {
    code: 'NODE_DENIED',
    says: (device) => `${device} does not let this device do that`,
    hint: nothing,
  },
  unknown: {
    code: 'NODE_NOT_FOUND',
    says: (device, name) => `${device} has no such thing as "${name}"`,
    hint: nothing,
  },
  invalid: {
    code: 'NODE_USAGE',
    says: (device, name) => `${device} does not take that for ${name}`,
    hint: nothing,
  },
  timeout: {
    code: 'NODE_TIMEOUT',
    says: (device, name) => `${name} of ${device} did not end in time`,
    hint: (device, name) => `It may have acted all the same: kith why ${device} ${name}`,
  },
  expired: {
    code: 'NODE_TIMEOUT',
    says: (device) => `The call came to ${device} too late`,
    hint: () =>
      'Nothing was changed. Give it longer with --ttl, and look at both clocks with: kith doctor',
  },
}

const OTHERS: Partial<Readonly<Record<Receipt['status'], string>>> = {
  failed: 'did not work',
  superseded: 'was overtaken by a later call',
  cancelled: 'was taken back',
  refused: 'was refused',
  busy: 'was refused, because the device is busy',
}

async function refusal(
  target: Target,
  { verb, name }: Wanted,
  { status, detail = '' }: Receipt,
): Promise<NodeError> {
  const { name: device } = target.device
  const known = REFUSALS[status]
  const why = detail === '' ? '' : `: ${detail}`
  if (known === undefined) {
    const what = OTHERS[status] ?? status
    return new NodeError('NODE_CONFLICT', `${device}: ${name} ${what}${why}.`)
  }
  const near = status === 'unknown' ? await nearestTo(target, KINDS[verb], name) : ''
  return new NodeError(known.code, `${known.says(device, name)}${why}.`, {
    hint: `${near}${known.hint(device, name)}`,
  })
}

/** "Did you mean …? ", or nothing. */
async function nearestTo(
  target: Target,
  kind: 'property' | 'action',
  name: string,
): Promise<string> {
  try {
    const { description } = await describe(target, AbortSignal.timeout(VALUE_MS))
    const near = nearest(name, [...membersOf(description, MEMBERS[kind]).keys()])
    return near.length === 0 ? '' : `Did you mean ${near.join(' or ')}? `
  } catch {
    return ''
  }
}

type Names = (key: Uint8Array) => DeviceName

export function callView(record: CallRecord, names: Names): CallView {
  const { id, to, verb, name, args, state, issuedMs, ttlMs, deliversByMs, receipt, cause } = record
  return {
    id: toHex(id),
    device: names(to),
    verb,
    name,
    ...(args === undefined ? {} : { args }),
    state,
    issuedAt: issuedMs,
    expiresAt: issuedMs + ttlMs,
    ...(deliversByMs === undefined ? {} : { deliversBy: deliversByMs }),
    holders: record.holders.map(names),
    ...(receipt === undefined ? {} : { receipt: receiptView(receipt) }),
    ...(cause === undefined ? {} : { cause: causeView(cause, names) }),
  }
}

function receiptView(receipt: Receipt): ReceiptView {
  const { status, result, detail, atMs, clock } = receipt
  return {
    status,
    ...(result === undefined ? {} : { result }),
    ...(detail === undefined ? {} : { detail }),
    at: atMs,
    clock,
  }
}

function causeView(cause: NonNullable<CallRecord['cause']>, names: Names): CauseView {
  const { rule, device, sensor, seq, atMs, value } = cause
  return { rule, device: names(device), sensor, seq, at: atMs, value }
}

function whyView(row: WhyRow, names: Names): WhyView {
  const { id, caller, verb, name, args, status, atMs, cause, receipt } = row
  const { result, detail } = receipt
  return {
    id: toHex(id),
    by: names(caller),
    verb,
    name,
    ...(args === undefined ? {} : { args }),
    status,
    ...(result === undefined ? {} : { result }),
    ...(detail === undefined ? {} : { detail }),
    at: atMs,
    ...(cause === undefined ? {} : { cause: causeView(cause, names) }),
    verified: true,
  }
}
