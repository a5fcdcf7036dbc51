/**
 * Packets received. Anyone on the link can send anything, so every count and length is bounded
 * before the DNS parser sees the bytes, and what does not belong to us is dropped record by record.
 */
import dnsPacket, { type Answer, type DecodedPacket } from 'dns-packet'

import { keyOfPeerId } from '../identity/index.ts'
import { equalBytes } from '../wire/index.ts'
import { addressText, lanAddress, parseAddress, parseIp4, parseIp6 } from './addresses.ts'
import {
  CANDIDATE_VERSION,
  isDiscriminator,
  KITH_MARKER,
  MESH_SERVICE,
  PAIRING_SERVICE,
  type Announcement,
  type CandidateRecord,
  type Sighting,
} from './messages.ts'
import { DISCOVERY, DiscoveryError } from './protocol.ts'

/** A DNS header is twelve bytes; the last eight count the records (RFC 1035 section 4.1.1). */
const HEADER_BYTES = 12
const COUNTS_AT = [4, 6, 8, 10] as const

const TYPE_A = 1
const TYPE_AAAA = 28

const DNSADDR = 'dnsaddr='
const P2P = '/p2p/'

/**
 * What `bytes` asks for or tells. Packets of other services give an empty sighting.
 *
 * @throws DiscoveryError DISCOVERY_TOO_LARGE, DISCOVERY_TOO_MANY_RECORDS, DISCOVERY_MALFORMED
 */
export function parsePacket(bytes: Uint8Array): Sighting {
  const packet = decode(bytes)
  if (packet.type === 'query') {
    const names = (packet.questions ?? [])
      .filter((question) => question.type === 'PTR' || (question.type as string) === 'ANY')
      .map((question) => question.name.toLowerCase())
    return {
      asksMesh: names.includes(MESH_SERVICE),
      asksCandidates: names.includes(PAIRING_SERVICE),
      peers: [],
      candidates: [],
    }
  }
  const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])]
  return {
    asksMesh: false,
    asksCandidates: false,
    peers: instances(records, MESH_SERVICE).flatMap((found) => announcement(records, found)),
    candidates: instances(records, PAIRING_SERVICE).flatMap((found) => candidate(records, found)),
  }
}

function decode(bytes: Uint8Array): DecodedPacket {
  if (bytes.length > DISCOVERY.maxPacketBytes) throw new DiscoveryError('DISCOVERY_TOO_LARGE')
  if (bytes.length < HEADER_BYTES) throw new DiscoveryError('DISCOVERY_MALFORMED', 'short')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [questions = 0, ...others] = COUNTS_AT.map((at) => view.getUint16(at))
  const records = others.reduce((sum, count) => sum + count, 0)
  if (questions + records > DISCOVERY.maxRecords) {
    throw new DiscoveryError('DISCOVERY_TOO_MANY_RECORDS')
  }
  try {
    requireStructure(view, questions, records)
    return dnsPacket.decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  } catch (cause) {
    throw new DiscoveryError('DISCOVERY_MALFORMED', undefined, { cause })
  }
}

/** Every record lies inside the packet, and addresses have their length: the parser checks neither. */
function requireStructure(view: DataView, questions: number, records: number): void {
  let at = HEADER_BYTES
  for (let i = 0; i < questions; i++) at = afterName(view, at) + 4
  for (let i = 0; i < records; i++) {
    at = afterName(view, at)
    const type = view.getUint16(at)
    const length = view.getUint16(at + 8)
    at += 10 + length
    const due = type === TYPE_A ? 4 : length
    if (length !== (type === TYPE_AAAA ? 16 : due)) throw new RangeError('address length')
  }
  if (at > view.byteLength) throw new RangeError('record data')
}

/** Where the name at `at` ends; a pointer ends it. @throws RangeError past the end of the packet */
function afterName(view: DataView, at: number): number {
  let next = at
  for (;;) {
    const length = view.getUint8(next)
    if (length === 0) return next + 1
    if (length >= 0xc0) return next + 2
    next += 1 + length
  }
}

interface Instance {
  /** Full name, lower case. */
  readonly name: string
  readonly label: string
  readonly ttlSeconds: number
}

function instances(records: readonly Answer[], service: string): Instance[] {
  const found = new Map<string, Instance>()
  for (const record of records) {
    if (found.size === DISCOVERY.maxPeers) break
    if (record.type !== 'PTR' || record.name.toLowerCase() !== service) continue
    const name = record.data.toLowerCase()
    const label = name.slice(0, -service.length - 1)
    if (name !== `${label}.${service}` || !isLabel(label)) continue
    const ttlSeconds = Math.min(record.ttl ?? 0, DISCOVERY.maxTtlSeconds)
    found.set(name, { name, label, ttlSeconds })
  }
  return [...found.values()]
}

/** Any instance that other libp2p nodes may use; shown to nobody but in the log. */
function isLabel(label: string): boolean {
  return /^[!-~]{1,63}$/.test(label)
}

function announcement(records: readonly Answer[], instance: Instance): Announcement[] {
  let key: Uint8Array | undefined
  let kith = false
  const addresses = new Set<string>()
  for (const text of texts(records, instance.name)) {
    if (text === KITH_MARKER) kith = true
    if (!text.startsWith(DNSADDR) || addresses.size === DISCOVERY.maxAddresses) continue
    const at = text.lastIndexOf(P2P)
    if (at < 0) continue
    const named = tryKey(text.slice(at + P2P.length))
    // One instance is one device: what names another key is somebody else's claim.
    if (named === undefined || (key !== undefined && !equalBytes(key, named))) continue
    key = named
    const address = parseAddress(text.slice(DNSADDR.length, at))
    if (address !== undefined) addresses.add(addressText(address))
  }
  if (key === undefined) return []
  const { label, ttlSeconds } = instance
  return [{ instance: label, key, addresses: [...addresses], ttlSeconds, kith }]
}

function candidate(records: readonly Answer[], instance: Instance): CandidateRecord[] {
  const fields = new Map<string, string>()
  for (const text of texts(records, instance.name)) {
    const at = text.indexOf('=')
    const name = text.slice(0, at).toLowerCase()
    if (at > 0 && !fields.has(name)) fields.set(name, text.slice(at + 1))
  }
  const key = tryKey(fields.get('id') ?? '')
  const discriminator = fields.get('dd') ?? ''
  const versionFits = fields.get('v') === CANDIDATE_VERSION
  if (key === undefined || !versionFits || !isDiscriminator(discriminator)) return []
  const addresses = candidateAddresses(records, instance)
  const { label, ttlSeconds } = instance
  return [{ instance: label, key, discriminator, addresses, ttlSeconds }]
}

function candidateAddresses(records: readonly Answer[], instance: Instance): string[] {
  const srv = records.find(
    (record) => record.type === 'SRV' && record.name.toLowerCase() === instance.name,
  )
  if (srv?.type !== 'SRV') return []
  const host = srv.data.target.toLowerCase()
  const addresses = new Set<string>()
  for (const record of records) {
    if (addresses.size === DISCOVERY.maxAddresses) break
    if (record.type !== 'AAAA' && record.type !== 'A') continue
    if (record.name.toLowerCase() !== host) continue
    const ip = record.type === 'AAAA' ? parseIp6(record.data) : parseIp4(record.data)
    const address = lanAddress(ip, srv.data.port)
    if (address !== undefined) addresses.add(addressText(address))
  }
  return [...addresses]
}

/** The TXT strings of `name`, as text. */
function* texts(records: readonly Answer[], name: string): Generator<string> {
  for (const record of records) {
    if (record.type !== 'TXT' || record.name.toLowerCase() !== name) continue
    for (const data of [record.data].flat()) {
      const text = typeof data === 'string' ? data : Buffer.from(data).toString('latin1')
      if (text.length <= DISCOVERY.maxTxtBytes) yield text
    }
  }
}

function tryKey(peerId: string): Uint8Array | undefined {
  try {
    return keyOfPeerId(peerId)
  } catch {
    return undefined
  }
}
