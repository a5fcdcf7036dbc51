import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

import dnsPacket from 'dns-packet'
import fc from 'fast-check'

import {
  buildAnnouncement,
  buildCandidate,
  buildQuery,
  DISCOVERY,
  DiscoveryError,
  MESH_SERVICE,
  parseAddress,
  parsePacket,
  type CandidateRecord,
} from '../../protocols/discovery/index.ts'
import { peerIdOf, signerFromSeed } from '../../protocols/identity/index.ts'
import { fromHex, toHex } from '../../protocols/wire/index.ts'

const key = signerFromSeed(new Uint8Array(32).fill(1)).key
const other = signerFromSeed(new Uint8Array(32).fill(2)).key
const instance = '00112233445566778899aabbccddeeff'

interface Vectors {
  messages: { name: string; message: string; value: Record<string, unknown>; hex: string }[]
  invalid: { name: string; hex: string; code: string }[]
}
const vectors = JSON.parse(
  readFileSync(new URL('../../protocols/discovery/vectors.json', import.meta.url), 'utf8'),
) as Vectors

/** A response with these TXT strings under one instance. */
function response(strings: string[], name = `${instance}.${MESH_SERVICE}`): Uint8Array {
  return dnsPacket.encode({
    type: 'response',
    answers: [
      { type: 'PTR', name: MESH_SERVICE, ttl: 120, data: name },
      ...strings.map((data) => ({ type: 'TXT' as const, name, ttl: 120, data })),
    ],
  })
}

function addressesOf(...texts: string[]): readonly string[] {
  const strings = texts.map((text) => `dnsaddr=${text}/p2p/${peerIdOf(key)}`)
  return parsePacket(response(strings)).peers[0]?.addresses ?? []
}

function codeOf(work: () => unknown): string | undefined {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof DiscoveryError, String(error))
    return error.code
  }
  return undefined
}

describe('discovery vectors', () => {
  for (const { name, message, value, hex } of vectors.messages) {
    it(`builds and reads: ${name}`, () => {
      const withKey = { ...value, key: fromHex((value['key'] as string | undefined) ?? '') }
      if (message === 'query') {
        const service = value['service'] as 'mesh' | 'candidates'
        assert.equal(toHex(buildQuery(service)), hex)
        const { asksMesh, asksCandidates } = parsePacket(fromHex(hex))
        assert.deepEqual([asksMesh, asksCandidates], [service === 'mesh', service !== 'mesh'])
      } else if (message === 'announcement') {
        const announcement = withKey as never
        assert.deepEqual(buildAnnouncement(announcement).map(toHex), [hex])
        assert.deepEqual(parsePacket(fromHex(hex)).peers, [{ ...withKey, kith: true }])
      } else {
        assert.deepEqual(buildCandidate(withKey as never).map(toHex), [hex])
        assert.deepEqual(parsePacket(fromHex(hex)).candidates, [withKey])
      }
    })
  }

  for (const { name, hex, code } of vectors.invalid) {
    it(`refuses: ${name}`, () => {
      assert.equal(
        codeOf(() => parsePacket(fromHex(hex))),
        code,
      )
    })
  }
})

describe('discovery packets', () => {
  it('carries sixteen addresses in packets that fit the smallest MTU', () => {
    const addresses = Array.from({ length: 20 }, (_, i) => `/ip6/2a01:db8::${i + 1}/tcp/4646`)
    const packets = buildAnnouncement({ instance, key, addresses, ttlSeconds: 120 })
    assert.ok(packets.length > 1)
    for (const packet of packets) assert.ok(packet.length <= DISCOVERY.maxSentBytes)
    const read = packets.flatMap((packet) => parsePacket(packet).peers.flatMap((p) => p.addresses))
    assert.deepEqual(read, addresses.slice(0, 16))
  })

  it('reads the records of a libp2p node that knows nothing of Kith', () => {
    const [peer] = parsePacket(
      response([`dnsaddr=/ip4/192.168.1.9/tcp/40123/p2p/${peerIdOf(key)}`]),
    ).peers
    assert.deepEqual(peer?.addresses, ['/ip4/192.168.1.9/tcp/40123'])
    assert.equal(peer?.kith, false)
  })

  it('accepts a question with the QU bit', () => {
    const query = buildQuery('mesh')
    const asked = Uint8Array.from(query)
    asked[asked.length - 2] = 0x80
    assert.ok(parsePacket(asked).asksMesh)
  })

  it('takes records from the additional section', () => {
    const name = `${instance}.${MESH_SERVICE}`
    const packet = dnsPacket.encode({
      type: 'response',
      answers: [{ type: 'PTR', name: MESH_SERVICE, data: name }],
      additionals: [
        { type: 'TXT', name, data: `dnsaddr=/ip6/fe80::9/tcp/4646/p2p/${peerIdOf(key)}` },
      ],
    })
    assert.deepEqual(parsePacket(packet).peers[0]?.addresses, ['/ip6/fe80::9/tcp/4646'])
  })

  it('drops addresses that must never be dialled', () => {
    const never = [
      '/ip6/::1/tcp/4646',
      '/ip6/::/tcp/4646',
      '/ip6/ff02::1/tcp/4646',
      '/ip6/::ffff:c0a8:101/tcp/4646',
      '/ip6/::ffff:192.168.1.1/tcp/4646',
      '/ip6/64:ff9b::1/tcp/4646',
      '/ip4/127.0.0.1/tcp/4646',
      '/ip4/0.0.0.0/tcp/4646',
      '/ip4/224.0.0.251/tcp/4646',
      '/ip4/255.255.255.255/tcp/4646',
      '/ip6/fe80::1/tcp/0',
      '/ip6/fe80::1/tcp/22',
      '/ip6/fe80::1/tcp/9100',
      '/ip6/fe80::1/tcp/65536',
      '/ip6/fe80::1/tcp/04646',
      '/ip6/fe80::1/udp/4646',
      '/ip6/fe80::1/tcp/4646/ws',
      '/ip6zone/eth0/ip6/fe80::1/tcp/4646',
      '/ip6/fe80::1%eth0/tcp/4646',
      '/dns6/example.org/tcp/4646',
      '/ip6/1::2::3/tcp/4646',
      '/ip6/1:2:3:4:5:6:7/tcp/4646',
      '/ip4/192.168.01.1/tcp/4646',
      '/ip4/192.168.1.256/tcp/4646',
    ]
    assert.deepEqual(addressesOf(...never, '/ip6/fe80::2/tcp/4646'), ['/ip6/fe80::2/tcp/4646'])
  })

  it('writes one address one way', () => {
    assert.deepEqual(addressesOf('/ip6/FD00:0:0:0:0:0:0:1/tcp/4646', '/ip6/fd00::0001/tcp/4646'), [
      '/ip6/fd00::1/tcp/4646',
    ])
    assert.equal(parseAddress('/ip6/2001:0:0:1:0:0:0:1/tcp/4646')?.host, '2001:0:0:1::1')
    assert.equal(parseAddress('/ip6/2001:0:3:4:5:6:7:8/tcp/4646')?.host, '2001:0:3:4:5:6:7:8')
  })

  it('believes the first key of an instance and no second', () => {
    const [peer] = parsePacket(
      response([
        `dnsaddr=/ip6/fe80::1/tcp/4646/p2p/${peerIdOf(key)}`,
        `dnsaddr=/ip6/fe80::666/tcp/4646/p2p/${peerIdOf(other)}`,
      ]),
    ).peers
    assert.deepEqual(peer?.key, key)
    assert.deepEqual(peer?.addresses, ['/ip6/fe80::1/tcp/4646'])
  })

  it('takes no more than sixteen addresses and eight peers from one packet', () => {
    const many = Array.from({ length: 40 }, (_, i) => `/ip6/fe80::${i + 1}/tcp/4646`)
    assert.equal(addressesOf(...many).length, DISCOVERY.maxAddresses)
    const answers = Array.from({ length: 20 }, (_, i) => {
      const name = `peer${i}.${MESH_SERVICE}`
      const data = `dnsaddr=/ip6/fe80::1/tcp/4646/p2p/${peerIdOf(key)}`
      return [
        { type: 'PTR' as const, name: MESH_SERVICE, data: name },
        { type: 'TXT' as const, name, data },
      ]
    }).flat()
    const { peers } = parsePacket(dnsPacket.encode({ type: 'response', answers }))
    assert.equal(peers.length, DISCOVERY.maxPeers)
  })

  it('refuses a packet over 9000 bytes before it parses it', () => {
    assert.equal(
      codeOf(() => parsePacket(new Uint8Array(9001))),
      'DISCOVERY_TOO_LARGE',
    )
  })

  it('does not build what no reader would take', () => {
    const bad = (addresses: string[], name = instance): string | undefined =>
      codeOf(() => buildAnnouncement({ instance: name, key, addresses, ttlSeconds: 120 }))
    assert.equal(bad(['/ip6/::1/tcp/4646']), 'DISCOVERY_BAD_VALUE')
    assert.equal(bad(['/ip6zone/eth0/ip6/fe80::1/tcp/4646']), 'DISCOVERY_BAD_VALUE')
    assert.equal(bad(['/ip6/fe80::1/tcp/4646'], 'two.labels'), 'DISCOVERY_BAD_VALUE')
    const candidate = (change: Partial<CandidateRecord>): string | undefined =>
      codeOf(() =>
        buildCandidate({
          instance,
          key,
          discriminator: '37',
          addresses: ['/ip6/fe80::1/tcp/40001'],
          ttlSeconds: 120,
          ...change,
        }),
      )
    assert.equal(candidate({}), undefined)
    assert.equal(candidate({ discriminator: '377' }), 'DISCOVERY_BAD_VALUE')
    assert.equal(candidate({ addresses: [] }), 'DISCOVERY_BAD_VALUE')
  })
})

describe('discovery under hostile bytes', () => {
  it('gives a sighting or its own error for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        codeOf(() => parsePacket(bytes))
      }),
      { numRuns: 2000 },
    )
  })

  it('survives any change to a good packet, and takes only dialable addresses from it', () => {
    const good = buildAnnouncement({
      instance,
      key,
      addresses: ['/ip6/fe80::1/tcp/4646', '/ip4/10.0.0.1/tcp/4646'],
      ttlSeconds: 120,
    })[0] as Uint8Array
    const change = fc.tuple(fc.nat(good.length - 1), fc.nat(255))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
        const bytes = Uint8Array.from(good)
        for (const [at, value] of changes) bytes[at] = value
        codeOf(() => {
          for (const peer of parsePacket(bytes).peers) {
            for (const address of peer.addresses) assert.ok(parseAddress(address))
          }
        })
      }),
      { numRuns: 3000 },
    )
  })

  it('reads back every address that it writes', () => {
    const ip6 = fc.ipV6().filter((ip) => !ip.includes('.'))
    fc.assert(
      fc.property(ip6, fc.integer({ min: 0, max: 65_535 }), (ip, port) => {
        const address = parseAddress(`/ip6/${ip}/tcp/${port}`)
        if (address === undefined) return
        const text = `/ip6/${address.host}/tcp/${port}`
        assert.deepEqual(parseAddress(text), address)
        assert.equal(new URL(`http://[${ip}]/`).hostname, `[${address.host}]`)
      }),
    )
  })
})
