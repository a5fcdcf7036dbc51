/** What changed between two states of a home, as events for people. Pure. */
import { fingerprintOf, peerIdOf } from '../../../protocols/identity/index.ts'
import { capsBeyond, gatewayRightsIn, type HomeState } from '../../../protocols/members/index.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'

export interface MemberChange {
  readonly type:
    | 'member.added'
    | 'member.removed'
    | 'member.renamed'
    | 'member.role'
    | 'home.renamed'
    | 'members.equivocation'
    | 'gateway.policy'
  readonly data: Readonly<Record<string, unknown>>
}

export function describeChanges(before: HomeState, after: HomeState): readonly MemberChange[] {
  const changes: MemberChange[] = []
  if (before.name !== after.name) changes.push({ type: 'home.renamed', data: { name: after.name } })
  for (const [hex, { key, name, role }] of after.devices) {
    const about = { device: peerIdOf(key), fingerprint: fingerprintOf(key), name, role }
    const old = before.devices.get(hex)
    if (old === undefined) changes.push({ type: 'member.added', data: about })
    else if (old.role !== role)
      changes.push({ type: 'member.role', data: { ...about, was: old.role } })
    if (old !== undefined && old.name !== name) {
      changes.push({ type: 'member.renamed', data: { ...about, was: old.name } })
    }
  }
  for (const [hex, { key, name, reason }] of after.removed) {
    if (before.removed.has(hex)) continue
    const about = { device: peerIdOf(key), fingerprint: fingerprintOf(key), name, reason }
    changes.push({ type: 'member.removed', data: about })
  }
  changes.push(...gatewayChanges(before, after))
  const known = new Set(before.equivocations.map(({ signer }) => peerIdOf(signer)))
  const caught = new Set(after.equivocations.map(({ signer }) => peerIdOf(signer)))
  for (const device of caught) {
    if (!known.has(device)) changes.push({ type: 'members.equivocation', data: { device } })
  }
  return changes
}

/** What owners signed about gateways, and took. */
function gatewayChanges(before: HomeState, after: HomeState): readonly MemberChange[] {
  if (equalBytes(before.policy, after.policy)) return []
  return [...after.devices.values()].flatMap(({ key, name, role }): readonly MemberChange[] => {
    if (role !== 'gateway') return []
    const [was, caps] = [capsIn(before, key), capsIn(after, key)]
    if (was.join(' ') === caps.join(' ')) return []
    const [wider, taken] = [capsBeyond(caps, was), capsBeyond(was, caps)]
    return [{ type: 'gateway.policy', data: { device: peerIdOf(key), name, caps, wider, taken } }]
  })
}

/** A policy that cannot be read allows nothing. */
function capsIn({ policy }: HomeState, gateway: Uint8Array): readonly string[] {
  try {
    return gatewayRightsIn(policy, gateway).caps
  } catch {
    return []
  }
}
