/*
 *      hub (the only owner) ──┐
 *      elm, counts ───────── switch "lan" ─── (eth0) gate (wan0) ── switch "outside" ── cloud
 *      ash, counts ───────────┘
 *
 * In cloud are mosquitto, with TLS 1.3, and a subscriber whose session lasts. The broker is killed,
 * the gateway is killed, and the gateway is cut off from the home; everything that elm and ash counted
 * is at the subscriber in the end. What the gateway says has left is held against the kernel.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { after, before, describe, it } from 'node:test'
import type { ChildProcess } from 'node:child_process'

import type { GatewayStatus } from '../../gateway/answers.ts'
import type { EgressDay } from '../../gateway/ledger/ledger.ts'
import { askGateway } from '../../gateway/local.ts'
import { makeCertificates } from '../helpers/mosquitto.ts'
import { tree, type Tree } from '../helpers/sensors.ts'
import { findProgram, needs } from '../helpers/tools.ts'
import { historyOf, startLab, type Lab } from './devices.ts'
import { never, until } from './until.ts'

const FAR_SIDE = fileURLToPath(new URL('./actors/far-side.ts', import.meta.url))
const COUNTERS = ['elm', 'ash']
const NAMES = ['hub', ...COUNTERS, 'gate']
const CLOUD = 'fd00:2::1'
const NOTICE_LIMIT_MS = 20_000
/** A running home with nothing signed. */
const SILENT_MS = 1500
const QUIET_MS = 500
/** Readings that come while something is away. */
const AWAY = 30
/** Of what the kernel counted, so much may be told wrong: segments are estimated. */
const TOLERANCE = 0.1

const COUNTING = `
[sensor.count]
type = "command"
format = "ndjson"
interval = "10ms"
command = ["/bin/sh", "-c", "i=0; while i=$((i+1)); do echo $i; sleep 0.03; done"]
`

interface Said {
  readonly _id: string
  readonly _i: readonly number[]
}

interface FarSide {
  /** What came, by the name of the reading: `<device id>/<seq>/<index>`, and how often. */
  readonly got: ReadonlyMap<string, number>
  ready: Promise<void>
}

function farSide(child: ChildProcess): FarSide {
  const got = new Map<string, number>()
  const ready = Promise.withResolvers<void>()
  if (child.stdout === null) throw new Error('no output')
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { said } = JSON.parse(line) as { said?: Said }
    if (said === undefined) ready.resolve()
    for (const i of said?._i ?? []) {
      const id = `${said?._id}/${i}`
      got.set(id, (got.get(id) ?? 0) + 1)
    }
  })
  return { got, ready: ready.promise }
}

describe('a gateway between a home and a broker', needs('namespaces', 'mosquitto'), () => {
  let files: Tree
  let lab: Lab
  let far: FarSide
  let broker: ChildProcess
  const lan = NAMES.map((device) => ({ device, interface: 'eth0' }))
  /** What the outside had sent by then. */
  let silent = 0
  const ids = new Map<string, string>()

  async function startBroker(): Promise<void> {
    const program = findProgram('mosquitto') ?? 'mosquitto'
    broker = lab.world.spawn('cloud', [program, '-c', path.join(files.root, 'broker.conf')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    if (broker.stderr === null) throw new Error('no output')
    for await (const line of createInterface({ input: broker.stderr })) {
      if (!line.endsWith(' running')) continue
      broker.stderr.resume()
      return
    }
    throw new Error('mosquitto did not start')
  }

  /** Names of all that `name` has counted by now. */
  async function counted(name: string): Promise<string[]> {
    const id = ids.get(name) ?? ''
    const sizes = new Map<number, number>()
    for (const row of await historyOf(lab.device(name), id)) {
      if ('gap' in row) throw new Error(`a gap at ${name} itself`)
      sizes.set(row.seq, (sizes.get(row.seq) ?? 0) + 1)
    }
    return [...sizes].flatMap(([seq, size]) =>
      Array.from({ length: size }, (_, i) => `${id}/${seq}/${i}`),
    )
  }

  /** Waits until all that was counted before is at the far side. */
  async function allThere(): Promise<number> {
    const want = (await Promise.all(COUNTERS.map((name) => counted(name)))).flat()
    await lab.until('all is at the far side', NOTICE_LIMIT_MS, () => {
      const missing = want.filter((one) => !far.got.has(one))
      if (missing.length > 0) throw new Error(`${missing.length} of ${want.length} are missing`)
      return Promise.resolve(true)
    })
    return want.length
  }

  /** Readings that ash makes from now on, at ash. */
  async function someMore(): Promise<void> {
    const first = (await counted('ash')).length
    await until('ash counts', NOTICE_LIMIT_MS, async () => {
      return (await counted('ash')).length >= first + AWAY
    })
  }

  async function outside(): Promise<number> {
    return (await lab.world.counters('gate', 'wan0')).txBytes
  }

  /** When nothing more leaves. */
  async function quiet(): Promise<number> {
    let last = await outside()
    let since = performance.now()
    return await until('nothing more leaves', NOTICE_LIMIT_MS, async () => {
      const now = await outside()
      if (now !== last) since = performance.now()
      last = now
      return performance.now() - since > QUIET_MS && now
    })
  }

  async function ask(name: string): Promise<unknown> {
    const socket = path.join(lab.device('gate').dataDir, 'gateway.sock')
    return await askGateway(socket, { name }, AbortSignal.timeout(NOTICE_LIMIT_MS))
  }

  before(async () => {
    files = tree()
    const { ca, cert, key } = makeCertificates(files, CLOUD)
    files.write(
      'broker.conf',
      [
        `listener 8883 ${CLOUD}`,
        `certfile ${cert}`,
        `keyfile ${key}`,
        'tls_version tlsv1.3',
        'listener 1883 ::1',
        'allow_anonymous true',
        'max_inflight_messages 0',
        'max_queued_messages 0',
        'persistence true',
        `persistence_location ${files.root}/`,
        'autosave_on_changes true',
        'autosave_interval 1',
        'user root',
        '',
      ].join('\n'),
    )
    const outer = [
      { device: 'gate', interface: 'wan0', addresses: ['fd00:2::2/64'] },
      { device: 'cloud', interface: 'eth0', addresses: [`${CLOUD}/64`] },
    ]
    const counting = { 'telemetry.sensors': 'count', 'telemetry.max_wait': '100ms' }
    lab = await startLab(
      { lan, outside: outer },
      {
        others: ['cloud'],
        gateways: ['gate'],
        files: Object.fromEntries(COUNTERS.map((name) => [name, COUNTING])),
        settings: {
          hub: { 'telemetry.sensors': '' },
          elm: counting,
          ash: counting,
          gate: { 'telemetry.sensors': '', 'mesh.interfaces': 'eth0' },
        },
        terms: { gate: ['--role', 'gateway'] },
      },
    )
    await Promise.all([startBroker(), lab.makeHome()])
    const listener = lab.world.spawn('cloud', [process.execPath, FAR_SIDE, '1883'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    far = farSide(listener)
    await far.ready
    for (const name of NAMES) ids.set(name, (await lab.device(name).api.status()).device.id)
    await writeFile(
      path.join(lab.device('gate').dataDir, 'gateway.toml'),
      `[sink.cloud]
       type = "mqtt"
       broker = "mqtts://[${CLOUD}]:8883"
       ca_file = "${ca}"
       [[forward]]
       sink = "cloud"\n`,
    )
    // Whole packets to the kernel's counters, as a network card has them.
    await lab.world.ip('gate', 'link', 'set', 'wan0', 'gso_max_segs', '1')
    await lab.freshReading('hub', 'elm', NOTICE_LIMIT_MS)
  })
  after(async () => {
    await lab[Symbol.asyncDispose]()
    files[Symbol.dispose]()
  })

  it('sends nothing at all while no owner has signed', async () => {
    await lab.until('the rule is read', NOTICE_LIMIT_MS, async () => {
      const { refusals } = (await ask('status')) as GatewayStatus
      return refusals.length > 0
    })
    const first = await outside()
    await never('a byte left', SILENT_MS, async () => (await outside()) !== first)
    assert.deepEqual(await ask('egress'), [])
    assert.equal(far.got.size, 0)
    silent = first
  })

  it('sends what was made before, and what is made, once an owner has signed', async () => {
    await lab.device('hub').kith(['gateway', 'policy', 'sign', '--allow', 'read:*'])
    await allThere()
    await someMore()
    await allThere()
  })

  it('loses nothing while it is cut off from the home, and says where every byte went', async (t) => {
    await lab.world.partition('lan', ['gate'])
    await someMore()
    const kernel = (await quiet()) - silent
    const days = (await ask('egress')) as readonly EgressDay[]
    await lab.world.heal('lan')
    const sum = (of: (day: EgressDay) => number): number =>
      days.reduce((all, day) => all + of(day), 0)
    const [told, written] = [sum(({ toldBytes }) => toldBytes), sum(({ bytes }) => bytes)]
    const headers = sum(({ headerBytes }) => headerBytes)
    const share = ((written + headers) / kernel - 1) * 100
    t.diagnostic(
      `kernel ${kernel}, ledger ${written} + ${headers} by estimate, ${share.toFixed(1)} % off; ${told} told of readings`,
    )
    assert.ok(told > 0 && told < written)
    assert.ok(written < kernel, 'what was written is a part of what the kernel sent')
    assert.ok(Math.abs(written + headers - kernel) <= kernel * TOLERANCE)
    await allThere()
  })

  it('loses nothing when the broker is killed', async () => {
    broker.kill('SIGKILL')
    await once(broker, 'exit')
    await someMore()
    await startBroker()
    await allThere()
  })

  it('loses nothing when it is killed itself', async () => {
    await lab.device('gate').stop('SIGKILL')
    await someMore()
    await lab.device('gate').start()
    await allThere()
  })

  it('has sent what it sent twice under the same names, and nothing else', async (t) => {
    const all = await allThere()
    const got = [...far.got]
    const known = new Set((await Promise.all(COUNTERS.map((name) => counted(name)))).flat())
    assert.deepEqual(
      got.filter(([one]) => !known.has(one)),
      [],
    )
    const copies = got.reduce((sum, [, times]) => sum + times, 0)
    t.diagnostic(`${all} readings, ${copies - got.length} of them once more`)
  })
})
