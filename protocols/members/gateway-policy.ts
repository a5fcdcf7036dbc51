/**
 * What the policy of a home lets each gateway have and call: part 2 of the policy's CBOR map, in the
 * words of caps. All other parts are kept as they are. A gateway that is not named may nothing, and
 * so does every gateway where the policy cannot be read. SPEC.md "Gateways".
 */
import { sha256 } from '../identity/index.ts'
import {
  bytes,
  compareBytes,
  encodeCbor,
  equalBytes,
  field,
  list,
  partsOf,
  record,
  text,
} from '../wire/index.ts'
import { capCovers, parseCap } from './caps.ts'
import { CAP_BYTES, POLICY_BYTES } from './messages.ts'
import { MembersError } from './protocol.ts'

/** Number of this part. */
export const GATEWAY_PART = 2
/** Gateways that one policy names, and caps of each. */
export const GATEWAY_COUNT = 16
export const GATEWAY_CAPS = 128

const LABEL_BYTES = 8
const LIMITS = { maxBytes: POLICY_BYTES, maxDepth: 12, maxItems: 2_048 }

const entry = record({
  gateway: field(1, bytes({ length: LABEL_BYTES })),
  caps: field(2, list(text(CAP_BYTES), { max: GATEWAY_CAPS })),
})
const part = record({ gateways: field(1, list(entry, { max: GATEWAY_COUNT })) })

/** What owners signed about one gateway. */
export interface GatewayRights {
  /** Caps as in grants: `read:abcd2345/temperature.*`, `invoke:abcd2345/toggle`. */
  readonly caps: readonly string[]
}

export const NO_RIGHTS: GatewayRights = { caps: [] }

/** How the policy names a gateway: the first 8 bytes of the SHA-256 of its key. */
function labelOf(key: Uint8Array): Uint8Array {
  return sha256(key).slice(0, LABEL_BYTES)
}

/**
 * What the policy lets the gateway with this key have and call. Caps that this version cannot read
 * are among them, and allow nothing.
 *
 * @throws MembersError MEMBERS_BAD_OP where the policy cannot be read
 */
export function gatewayRightsIn(policy: Uint8Array, key: Uint8Array): GatewayRights {
  const label = labelOf(key)
  const found = entriesIn(inPolicy(() => partsOf(policy, LIMITS))).find(({ gateway }) =>
    equalBytes(gateway, label),
  )
  return found === undefined ? NO_RIGHTS : { caps: found.caps }
}

/**
 * The policy with these rights of one gateway in place of its own; with no caps it is named no more.
 *
 * @throws MembersError MEMBERS_BAD_OP where the policy cannot be read, or would be longer than 2,048
 * bytes, or a cap is not one in its one spelling
 */
export function withGatewayRights(
  policy: Uint8Array,
  key: Uint8Array,
  { caps }: GatewayRights,
): Uint8Array {
  const wrong = caps.find((cap) => parseCap(cap) === undefined)
  if (wrong !== undefined) bad(`"${wrong}" is not a cap`)
  const label = labelOf(key)
  const parts = inPolicy(() => partsOf(policy, LIMITS))
  const others = entriesIn(parts).filter(({ gateway }) => !equalBytes(gateway, label))
  const own = caps.length === 0 ? [] : [{ gateway: label, caps: [...new Set(caps)].toSorted() }]
  const gateways = [...others, ...own].toSorted((a, b) => compareBytes(a.gateway, b.gateway))
  if (gateways.length === 0) parts.delete(GATEWAY_PART)
  else
    parts.set(
      GATEWAY_PART,
      inPolicy(() => part.toWire({ gateways })),
    )
  if (parts.size === 0) return new Uint8Array()
  const encoded = inPolicy(() => encodeCbor(new Map([...parts].toSorted(([a], [b]) => a - b))))
  if (encoded.length > POLICY_BYTES) bad(`${encoded.length} bytes`)
  return encoded
}

/** Those of `wanted` that no single one of `signed` allows: what an owner would have to sign. */
export function capsBeyond(wanted: readonly string[], signed: readonly string[]): string[] {
  return wanted.filter((cap) => !signed.some((one) => capCovers(one, cap)))
}

function entriesIn(parts: ReadonlyMap<number, unknown>) {
  const found = parts.get(GATEWAY_PART)
  if (found === undefined) return []
  const { gateways } = inPolicy(() => part.fromWire(found))
  for (const [i, { gateway }] of gateways.entries()) {
    const before = gateways[i - 1]
    if (before !== undefined && compareBytes(before.gateway, gateway) >= 0) bad('order of gateways')
  }
  return gateways
}

function inPolicy<T>(run: () => T): T {
  try {
    return run()
  } catch (cause) {
    throw new MembersError('MEMBERS_BAD_OP', (cause as Error).message, { cause })
  }
}

function bad(detail: string): never {
  throw new MembersError('MEMBERS_BAD_OP', detail)
}
