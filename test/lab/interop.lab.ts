/*
 *      oak (eth0, avahi) ─────────────┐
 *      elm (eth0) ────────────────  switch "lan"
 *      plain (eth0, stock libp2p) ────┘
 *
 * Port 5353 is the system's as much as ours, and a js-libp2p node as anybody would write it lives on
 * the same LAN.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { needs } from '../helpers/tools.ts'
import { startAvahi, type Avahi } from './avahi.ts'
import { startLab, type Lab } from './devices.ts'
import type { Topology } from './netns.ts'
import { never } from './until.ts'

const NAMES = ['oak', 'elm']
const ONLINE_LIMIT_MS = 30_000
const HEARD_LIMIT_MS = 15_000
const READING_LIMIT_MS = 30_000
const SILENCE_MS = 3000
const PLAIN = fileURLToPath(new URL('actors/plain-libp2p.ts', import.meta.url))

interface Sight {
  readonly self?: string
  readonly peer?: string
  readonly addrs: readonly string[]
}

function topology(withIp4: boolean): Topology {
  return {
    lan: [...NAMES, 'plain'].map((device, i) => ({
      device,
      interface: 'eth0',
      addresses: [`fd4b:17:5e:1::${i + 1}/64`, ...(withIp4 ? [`192.0.2.${i + 1}/24`] : [])],
    })),
  }
}

/** Start the stock node; what it sees is added to the list as it comes. */
function startPlain(lab: Lab): Sight[] {
  const seen: Sight[] = []
  const child = lab.world.spawn('plain', [process.execPath, PLAIN, 'discover'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  assert.ok(child.stdout)
  createInterface({ input: child.stdout }).on('line', (line) => {
    seen.push(JSON.parse(line) as Sight)
  })
  return seen
}

async function idsOf(lab: Lab): Promise<string[]> {
  const all = await Promise.all(NAMES.map((name) => lab.device(name).api.status()))
  return all.map(({ device }) => device.id)
}

describe('a device beside avahi', needs('namespaces', 'avahi'), () => {
  let lab: Lab
  let folder = ''
  let avahi: Avahi

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kith-avahi-'))
    lab = await startLab({ lan: NAMES.map((device) => ({ device, interface: 'eth0' })) })
    avahi = await startAvahi(lab.world, 'oak', folder)
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  it('makes a home: both share the port', async () => {
    await lab.makeHome()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
  })

  it('is listed by avahi as a libp2p node, and so is its neighbour', async () => {
    await lab.until('avahi lists two of _p2p._udp', HEARD_LIMIT_MS, async () => {
      const found = await avahi.browse('_p2p._udp')
      return new Set(found.map(({ instance }) => instance)).size >= NAMES.length
    })
  })

  it('shows its pairing window there, resolved, and no longer than that', async () => {
    const oak = lab.device('oak')
    await lab.device('elm').stop('SIGTERM')
    await rm(lab.device('elm').dataDir, { recursive: true })
    await lab.device('elm').start()
    const elm = lab.device('elm')
    assert.deepEqual(await avahi.browse('_kith-pair._tcp'), [])
    const { code } = await elm.api.openPairing({})
    const found = await lab.until('avahi resolves the candidate', HEARD_LIMIT_MS, async () => {
      const all = await avahi.browse('_kith-pair._tcp')
      return all.find(({ event }) => event === '=')
    })
    assert.equal(found.interface, 'eth0')
    assert.match(found.address ?? '', /^fe80:/)
    assert.ok(found.port !== undefined && found.port > 1024)
    assert.match(found.txt ?? '', new RegExp(`"dd=${code.slice(0, 2)}"`))
    assert.match(found.txt ?? '', /"v=1"/)
    assert.ok(!(found.txt ?? '').includes(code.slice(3)), 'no secret')
    await oak.kith(['add', '--code-file', '-', '--name', 'elm'], `${code}\n`)
    await lab.until('avahi has forgotten the candidate', HEARD_LIMIT_MS, async () => {
      return (await avahi.browse('_kith-pair._tcp')).length === 0
    })
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
  })
})

describe('a stock libp2p node on a LAN with IPv4 and IPv6', needs('namespaces'), () => {
  let lab: Lab
  let seen: Sight[]

  before(async () => {
    lab = await startLab(topology(true), { others: ['plain'] })
    // The stock module leaves it to the routes where multicast goes: a LAN has a router.
    for (const name of [...NAMES, 'plain']) {
      await lab.world.ip(name, '-4', 'route', 'add', 'default', 'dev', 'eth0')
    }
    await lab.makeHome()
    seen = startPlain(lab)
  })
  after(async () => lab[Symbol.asyncDispose]())

  it('discovers our devices, at addresses that it can dial', async () => {
    for (const id of await idsOf(lab)) {
      const sight = await lab.until(`it sees ${id}`, HEARD_LIMIT_MS, async () =>
        seen.find(({ peer }) => peer === id),
      )
      assert.ok(sight.addrs.some((address) => /^\/ip[46]\/(192\.0\.2|fd4b)/.test(address)))
    }
  })

  it('is a stranger to them: nobody dials it, and it changes nothing', async () => {
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
    const self = seen.find((sight) => sight.self !== undefined)?.self ?? assert.fail('no id')
    for (const name of NAMES) {
      const { peers } = await lab.device(name).api.status()
      assert.equal(peers, 1)
      assert.deepEqual(lab.device(name).logged(new RegExp(`dialled.*${self}`)), [])
    }
  })
})

describe('a stock libp2p node on a LAN without IPv4', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    lab = await startLab(topology(false), { others: ['plain'] })
  })
  after(async () => lab[Symbol.asyncDispose]())

  it('sees nobody, where our devices see each other', async () => {
    const seen = startPlain(lab)
    await lab.until('it runs', HEARD_LIMIT_MS, () => Promise.resolve(seen.length > 0))
    await lab.makeHome()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
    await never('it sees one', SILENCE_MS, () => Promise.resolve(seen.length > 1))
  })
})
