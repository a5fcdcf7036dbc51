/** Packets to send. Each is at most DISCOVERY.maxSentBytes; a long address list takes several. */
import dnsPacket, { type Answer, type Packet } from 'dns-packet'

import { peerIdOf } from '../identity/index.ts'
import { addressText, parseAddress, type LanAddress } from './addresses.ts'
import {
  CANDIDATE_VERSION,
  isDiscriminator,
  KITH_MARKER,
  MESH_SERVICE,
  PAIRING_SERVICE,
  requireInstance,
  type Announcement,
  type CandidateRecord,
} from './messages.ts'
import { DISCOVERY, DiscoveryError } from './protocol.ts'

/** Ask who is there. */
export function buildQuery(service: 'mesh' | 'candidates'): Uint8Array {
  const name = service === 'mesh' ? MESH_SERVICE : PAIRING_SERVICE
  return encode({ type: 'query', questions: [{ name, type: 'PTR', class: 'IN' }] })
}

/**
 * The announcement of one device on one link, in libp2p's form.
 *
 * @throws DiscoveryError DISCOVERY_BAD_VALUE where an address may not be announced
 */
export function buildAnnouncement(value: Omit<Announcement, 'kith'>): Uint8Array[] {
  requireInstance(value.instance)
  const ttl = value.ttlSeconds
  const name = `${value.instance}.${MESH_SERVICE}`
  const peerId = peerIdOf(value.key)
  const txt = (data: string): Answer => ({ type: 'TXT', name, ttl, class: 'IN', data })
  const head: Answer[] = [
    { type: 'PTR', name: MESH_SERVICE, ttl, class: 'IN', data: name },
    txt(KITH_MARKER),
  ]
  const addresses = requireAddresses(value.addresses)
  return split(head, addresses, (address) => {
    const data = `dnsaddr=${addressText(address)}/p2p/${peerId}`
    return txt(data)
  })
}

/**
 * The DNS-SD records of a device in its pairing window. All addresses share one port.
 *
 * @throws DiscoveryError DISCOVERY_BAD_VALUE
 */
export function buildCandidate(value: CandidateRecord): Uint8Array[] {
  requireInstance(value.instance)
  const addresses = requireAddresses(value.addresses)
  const port = addresses[0]?.port
  if (
    !isDiscriminator(value.discriminator) ||
    port === undefined ||
    !addresses.every((address) => address.port === port && address.family === 6)
  ) {
    throw new DiscoveryError('DISCOVERY_BAD_VALUE', 'candidate')
  }
  const ttl = value.ttlSeconds
  const name = `${value.instance}.${PAIRING_SERVICE}`
  const host = `${value.instance}.local`
  const text = [`v=${CANDIDATE_VERSION}`, `dd=${value.discriminator}`, `id=${peerIdOf(value.key)}`]
  const head: Answer[] = [
    { type: 'PTR', name: PAIRING_SERVICE, ttl, class: 'IN', data: name },
    { type: 'SRV', name, ttl, class: 'IN', data: { target: host, port } },
    { type: 'TXT', name, ttl, class: 'IN', data: text },
  ]
  return split(head, addresses, (address) => ({
    type: 'AAAA',
    name: host,
    ttl,
    class: 'IN',
    data: address.host,
  }))
}

function requireAddresses(texts: readonly string[]): LanAddress[] {
  return texts.slice(0, DISCOVERY.maxAddresses).map((text) => {
    const address = parseAddress(text)
    if (address === undefined) throw new DiscoveryError('DISCOVERY_BAD_VALUE', text)
    return address
  })
}

function split(
  head: readonly Answer[],
  addresses: readonly LanAddress[],
  record: (address: LanAddress) => Answer,
): Uint8Array[] {
  const packets: Uint8Array[] = []
  let records: Answer[] = []
  for (const address of addresses) {
    const next = [...records, record(address)]
    if (records.length > 0 && encodeAnswers(head, next).length > DISCOVERY.maxSentBytes) {
      packets.push(encodeAnswers(head, records))
      records = next.slice(-1)
    } else {
      records = next
    }
  }
  if (records.length > 0) packets.push(encodeAnswers(head, records))
  return packets
}

function encodeAnswers(head: readonly Answer[], records: readonly Answer[]): Uint8Array {
  return encode({
    type: 'response',
    flags: dnsPacket.AUTHORITATIVE_ANSWER,
    answers: [...head, ...records],
  })
}

function encode(packet: Packet): Uint8Array {
  return Uint8Array.from(dnsPacket.encode(packet))
}
