/**
 * `mdns-flood.ts INTERFACE PER-MINUTE MEMBER,… ADDRESS,…` multicasts announcements of devices: of
 * strangers with ids that nobody has seen, and of members under addresses that are not theirs. It
 * listens on every port that it names, and prints at the end of its standard input how many packets
 * it sent and how many connections came, by kind of lie.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'

import dnsPacket, { type Answer } from 'dns-packet'

import { MESH_SERVICE } from '../../../protocols/discovery/index.ts'
import { peerIdOf, signerFromSeed } from '../../../protocols/identity/index.ts'

const [name = '', perMinute = '', memberList = '', addressList = ''] = process.argv.slice(2)
const MEMBERS = memberList.split(',')
const ADDRESSES = addressList.split(',')
const TICK_MS = 50
const GROUP = 'ff02::fb'
const PORT = 5353

/** Where a device that believes a lie would connect to. */
const TRAPS = { stranger: 7001, member: 7002, service: 22, web: 80 } as const

const came: Record<string, number> = {}
for (const [kind, port] of Object.entries(TRAPS)) {
  came[kind] = 0
  const server = createServer((socket) => {
    came[kind] = (came[kind] ?? 0) + 1
    socket.on('error', () => {}).destroy()
  })
  server.listen(port, '::')
  await once(server, 'listening')
}

function announcement(peer: string, addresses: readonly string[]): Buffer {
  const instance = `${randomBytes(16).toString('hex')}.${MESH_SERVICE}`
  const text = (data: string): Answer => ({ type: 'TXT', name: instance, ttl: 120, data })
  const answers: Answer[] = [
    { type: 'PTR', name: MESH_SERVICE, ttl: 120, data: instance },
    text('kith=1'),
    ...addresses.map((address) => text(`dnsaddr=${address}/p2p/${peer}`)),
  ]
  return dnsPacket.encode({ type: 'response', flags: dnsPacket.AUTHORITATIVE_ANSWER, answers })
}

const pick = <T>(from: readonly T[], turn: number): T | undefined => from[turn % from.length]
const at = (turn: number, port: number): string => `/ip6/${pick(ADDRESSES, turn)}/tcp/${port}`

/** Eight kinds in turn; half of them name a member. */
function lie(turn: number): Buffer {
  const stranger = peerIdOf(signerFromSeed(randomBytes(32)).key)
  const member = pick(MEMBERS, turn >> 3) ?? stranger
  const shift = turn >> 3
  switch (turn % 8) {
    case 0:
    case 1:
      return announcement(member, [at(shift, TRAPS.member)])
    case 2:
      return announcement(member, [at(shift, TRAPS.service), at(shift, TRAPS.web)])
    case 3:
      return announcement(member, [
        '/ip6/::1/tcp/7003',
        '/ip4/127.0.0.1/tcp/7003',
        '/ip6/ff02::1/tcp/7003',
      ])
    default:
      return announcement(stranger, [at(turn, TRAPS.stranger)])
  }
}

const socket = createSocket({ type: 'udp6', reuseAddr: true, ipv6Only: true })
socket.bind(PORT, '::')
await once(socket, 'listening')
socket.setMulticastTTL(255)
socket.on('message', () => {})

let sent = 0
const started = performance.now()
setInterval(() => {
  const due = ((performance.now() - started) / 60_000) * Number(perMinute)
  while (sent < due) socket.send(lie(sent++), PORT, `${GROUP}%${name}`)
}, TICK_MS)
process.stdout.write('ready\n')
process.stdin
  .on('end', () =>
    process.stdout.write(`${JSON.stringify({ sent, came })}\n`, () => process.exit()),
  )
  .resume()
