/**
 * A second reading of the SPECs of identity, members and telemetry, with another CBOR library and
 * the platform's own Ed25519. It shares no line with the device.
 */
import { createHash, webcrypto } from 'node:crypto'

import { cdeDecodeOptions, decode, encode } from 'cbor2'

const OPTIONS = { ...cdeDecodeOptions, preferMap: true }

export type Fields = ReadonlyMap<unknown, unknown>

export class Refused extends Error {}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
export const sha256 = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(createHash('sha256').update(bytes).digest())

export function need<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Refused(what)
  return value
}

export function asBytes(value: unknown, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length)) {
    throw new Refused('byte string')
  }
  return value
}

export function asNumber(value: unknown): number {
  if (typeof value !== 'number') throw new Refused('number')
  return value
}

export function asList(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Refused('list')
  return value as readonly unknown[]
}

export function asFields(value: unknown): Fields {
  if (!(value instanceof Map)) throw new Refused('map')
  return value
}

function parse(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, OPTIONS)
  } catch {
    throw new Refused('CBOR')
  }
}

export interface Document {
  readonly signer: Uint8Array
  readonly payload: Fields
  /** Of what was signed. */
  readonly id: string
  /** Of the whole envelope. */
  readonly hash: string
}

/** identity, section 4: an envelope. `homeOf` names the home of its context. */
export async function openEnvelope(
  bytes: Uint8Array,
  kind: string,
  homeOf: (payload: Fields) => Uint8Array,
): Promise<Document> {
  const [header, unprotected, payload, signature, ...more] = asList(parse(bytes))
  if (more.length > 0 || asFields(unprotected).size > 0) throw new Refused('envelope')
  const signer = asBytes(asFields(parse(asBytes(header))).get(4), 32)
  const wanted = new Map<number, unknown>([
    [1, -8],
    [4, signer],
    [16, `application/kith-${kind}+cbor`],
  ])
  if (hex(encode(wanted)) !== hex(asBytes(header))) throw new Refused('header')
  const fields = asFields(parse(asBytes(payload)))
  const aad = Buffer.concat([Buffer.from(`kith-${kind}-v1`), homeOf(fields)])
  const signed = encode(['Signature1', header, new Uint8Array(aad), payload])
  const key = await webcrypto.subtle.importKey('raw', signer, 'Ed25519', false, ['verify'])
  if (!(await webcrypto.subtle.verify('Ed25519', key, asBytes(signature, 64), signed))) {
    throw new Refused('signature')
  }
  return { signer, payload: fields, id: hex(sha256(signed)), hash: hex(sha256(bytes)) }
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

/** identity, section 3: identity multihash of libp2p's protobuf of the key, base58btc. */
export function peerId(key: Uint8Array): string {
  const bytes = Buffer.concat([Buffer.from([0, 36, 8, 1, 18, 32]), key])
  let value = BigInt(`0x${bytes.toString('hex')}`)
  let text = ''
  for (; value > 0n; value /= 58n) text = `${BASE58[Number(value % 58n)] ?? ''}${text}`
  // The multihash begins with one zero byte.
  return `1${text}`
}

export interface PackFacts {
  readonly seq: number
  readonly prev: string
  readonly hash: string
  readonly readings: number
}

/** telemetry, section 4.3. */
export async function openPack(
  bytes: Uint8Array,
  home: Uint8Array,
  device: Uint8Array,
): Promise<PackFacts> {
  if (bytes.length > 32_768) throw new Refused('size')
  const { signer, payload, hash } = await openEnvelope(bytes, 'telemetry-pack', () => home)
  if (hex(signer) !== hex(device)) throw new Refused('device')
  if (hex(asBytes(payload.get(1), 32)) !== hex(home)) throw new Refused('home')
  const seq = asNumber(payload.get(3))
  const prev = hex(asBytes(payload.get(4), 32))
  if (seq < 1 || (seq === 1) !== /^0+$/.test(prev)) throw new Refused('link')
  const records = asList(payload.get(7)).map(asFields)
  if (records.length < 1 || records.length > 512) throw new Refused('readings')
  const base = records[0]?.get(-2)
  if (base !== `urn:dev:ops:${peerId(device)}:`) throw new Refused('base name')
  return { seq, prev, hash, readings: records.length }
}
