/**
 * From a set of ops to the state of the home: who is in it, as what, under which name. What each op
 * is worth is decided in effect.ts; here the effective ones are put together. A pure function of
 * the set: arrival order, clocks and the device it runs on change nothing.
 */
import { sha256 } from '../identity/index.ts'
import { compareBytes, encodeCbor, toHex, utf8 } from '../wire/index.ts'
import { depthOf, mayRevoke, type Grant } from './authority.ts'
import { effectsOf, type Effects } from './effect.ts'
import { findEquivocations } from './equivocation.ts'
import type { Entry } from './form.ts'
import { namesOf, type Names } from './names.ts'
import type { OpSet } from './op-set.ts'
import { covers } from './past.ts'
import { MembersError } from './protocol.ts'
import { weakness, type Role } from './roles.ts'
import type { Checkpoint, Device, Equivocation, HomeState, RemovedDevice } from './state.ts'

/** @throws MembersError MEMBERS_BAD_OP where genesis is not in the set */
export function reduce(set: OpSet): HomeState {
  const { entries, recovery } = set
  if (recovery === undefined) throw new MembersError('MEMBERS_BAD_OP', 'no genesis')
  const effects = effectsOf(set)
  const effective = entries.filter(({ index }) => effects.isEffective(index))
  const given = entries.flatMap(({ gives }) =>
    gives !== undefined && effects.isGiven(gives) ? [gives] : [],
  )
  const grants = given.filter((grant) => effects.isLive(grant))
  const names = namesOf(effective, set)
  const equivocations = findEquivocations(entries)
  const devices = devicesOf(grants, set, { names, equivocations })
  const removed = removedOf(given, devices, { names, effects, entries })
  const facts = {
    home: set.home,
    name: names.home,
    policy: names.policy,
    recoveryKey: recovery.subject,
    devices,
    removed,
    epoch: effective.filter(isRevoking).length,
  }
  const isEffective = new Set(effective.map(({ op }) => op.hex))
  return {
    ...facts,
    hash: hashOf(facts),
    heads: set.heads(),
    equivocations,
    checkpoint: newestCheckpoint(effective),
    grants,
    isEffective: (hex) => isEffective.has(hex),
  }
}

function isRevoking({ op }: Entry): boolean {
  const { type } = op.payload
  return type === 'revoke' || type === 'retire' || type === 'successor'
}

interface Context {
  readonly names: Names
  readonly equivocations: readonly Equivocation[]
}

function devicesOf(
  grants: readonly Grant[],
  { entries }: OpSet,
  context: Context,
): ReadonlyMap<string, Device> {
  const devices = new Map<string, Device>()
  const byHolder = Map.groupBy(grants, ({ holder }) => holder)
  for (const [holder, all] of [...byHolder].toSorted(byText)) {
    const grant = decidingGrant(all, entries)
    const entry = grant === undefined ? undefined : entries[grant.index]
    if (grant !== undefined && entry !== undefined) {
      devices.set(holder, deviceOf(grant, entry, context))
    }
  }
  return devices
}

function byText([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}

/**
 * Of several live grants for one key the one of least power; then the one that ends first. A lesser
 * grant does not count against an owner's whom its author could not revoke: else a junior owner
 * could demote the senior one.
 */
function decidingGrant(all: readonly Grant[], entries: readonly Entry[]): Grant | undefined {
  const owners = all.filter(({ role }) => role === 'owner')
  const counting = all.filter(
    ({ role, under }) =>
      role === 'owner' || owners.every((owner) => under !== undefined && mayRevoke(under, owner)),
  )
  const rank = (grant: Grant): readonly [number, number] => [
    weakness(grant.role as Role),
    -(termsOf(entries[grant.index]).expiresAtMs ?? Infinity),
  ]
  const [least] = counting.toSorted((a, b) => {
    const [powerA, endA] = rank(a)
    const [powerB, endB] = rank(b)
    if (powerA !== powerB) return powerB - powerA
    if (endA !== endB) return endB > endA ? 1 : -1
    return depthOf(a) - depthOf(b) || compareBytes(a.id, b.id)
  })
  return least
}

type Terms = Pick<Device, 'caps' | 'expiresAtMs' | 'paired'>

function termsOf(entry: Entry | undefined): Terms {
  if (entry?.op.payload.type !== 'grant') {
    return { caps: [], expiresAtMs: undefined, paired: undefined }
  }
  const { caps, expiresAtMs, paired } = entry.op.payload.body
  return { caps, expiresAtMs, paired }
}

function deviceOf(grant: Grant, entry: Entry, { names, equivocations }: Context): Device {
  const caught = equivocations.some(
    ({ signer, ops }) =>
      toHex(signer) === grant.holder && !ops.every((op) => covers(entry.past, names.indexOf(op))),
  )
  return {
    key: grant.subject,
    name: names.of(grant),
    role: grant.role as Role,
    ...termsOf(entry),
    grant: grant.id,
    grantedAtMs: entry.op.payload.ts,
    depth: depthOf(grant),
    quarantined: caught && grant.role !== 'owner',
  }
}

function removedOf(
  given: readonly Grant[],
  devices: ReadonlyMap<string, Device>,
  { names, effects, entries }: { names: Names; effects: Effects; entries: readonly Entry[] },
): ReadonlyMap<string, RemovedDevice> {
  const removed = new Map<string, RemovedDevice>()
  const gone = Map.groupBy(
    given.filter(({ holder }) => !devices.has(holder)),
    ({ holder }) => holder,
  )
  for (const [holder, grants] of [...gone].toSorted(byText)) {
    const cuts = lastOf(grants, effects, entries).flatMap((grant) => effects.cutsOf(grant))
    const last = grants.toSorted((a, b) => compareBytes(a.id, b.id)).at(-1)
    if (last === undefined) continue
    removed.set(holder, { key: last.subject, name: names.of(last), ...endOf(cuts) })
  }
  return removed
}

/** Grants that were not given anew by someone who knew that they were cut. */
function lastOf(
  grants: readonly Grant[],
  effects: Effects,
  entries: readonly Entry[],
): readonly Grant[] {
  return grants.filter((grant) => {
    const cuts = effects.cutsOf(grant)
    return !grants.some((later) => {
      const past = entries[later.index]?.past
      return past !== undefined && cuts.some((cut) => covers(past, cut.index))
    })
  })
}

/** The strictest of several cuts: the lowest telemetry seq, and a revocation's reason before others. */
function endOf(cuts: readonly Entry[]): Pick<RemovedDevice, 'reason' | 'lastSeq'> {
  let lastSeq: number | undefined
  const reasons = new Set<RemovedDevice['reason']>()
  for (const { op } of cuts) {
    const { payload } = op
    if (payload.type === 'successor') reasons.add('replaced')
    if (payload.type === 'retire') reasons.add('retired')
    if (payload.type === 'revoke') reasons.add(payload.body.reason)
    if (payload.type === 'retire' || payload.type === 'revoke') {
      lastSeq = Math.min(lastSeq ?? Infinity, payload.body.lastSeq ?? Infinity)
    }
  }
  const order = ['stolen', 'lost', 'removed', 'changed', 'replaced', 'retired'] as const
  return {
    reason: order.find((reason) => reasons.has(reason)) ?? 'removed',
    lastSeq: lastSeq === Infinity ? undefined : lastSeq,
  }
}

function newestCheckpoint(effective: readonly Entry[]): Checkpoint | undefined {
  let newest: Checkpoint | undefined
  for (const { op } of effective) {
    if (op.payload.type !== 'checkpoint') continue
    const { heads, stateHash, timeMs } = op.payload.body
    const isNewer =
      newest === undefined ||
      timeMs > newest.timeMs ||
      (timeMs === newest.timeMs && compareBytes(op.id, newest.op) < 0)
    if (isNewer) newest = { op: op.id, heads, stateHash, timeMs }
  }
  return newest
}

/** SPEC.md "State hash". */
function hashOf(
  facts: Pick<
    HomeState,
    'home' | 'name' | 'policy' | 'recoveryKey' | 'devices' | 'removed' | 'epoch'
  >,
): Uint8Array {
  const devices = [...facts.devices.values()].map((device) => [
    device.key,
    device.role,
    device.name,
    device.caps,
    device.expiresAtMs ?? null,
    device.grant,
    device.quarantined,
  ])
  const removed = [...facts.removed.values()].map(({ key, reason, lastSeq, name }) => [
    key,
    reason,
    name,
    lastSeq ?? null,
  ])
  const { home, name, policy, recoveryKey, epoch } = facts
  const value = [home, name, policy, recoveryKey, epoch, devices, removed]
  return sha256(utf8('kith-home-state-v1'), encodeCbor(value))
}
