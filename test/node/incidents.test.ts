import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, it } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'

import pino from 'pino'

import { NodeError } from '../../node/errors.ts'
import { factsOf } from '../../node/facts.ts'
import { openRunMarker, RUN_FILE } from '../../node/run-marker.ts'
import {
  startIncidents,
  type Incidents,
  type IncidentsDeps,
} from '../../node/services/incidents.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { migration, openIncidentStore } from '../../node/storage/incidents.ts'
import type { Signer } from '../../protocols/identity/index.ts'
import { BOUNDS, type Report } from '../../protocols/incidents/index.ts'
import { permits, ROLES, type Role } from '../../protocols/members/index.ts'
import { equalBytes } from '../../protocols/wire/index.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'
import { addByQr, eventOf, folders, loopbackOf, makeHome, startDevice } from '../helpers/device.ts'
import { MemoryNetwork } from '../helpers/memory-mesh.ts'
import { CONTEXT, deviceOf, HOME, START_MS } from '../helpers/telemetry.ts'
import { timeOf } from '../helpers/time.ts'

const SECRETS = ['swordfish', 'hunter2', '4711-correct-horse'] as const
const temporary: string[] = []

afterEach(() => {
  for (const folder of temporary.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function tempFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kith-incidents-'))
  temporary.push(folder)
  return folder
}

function assertNoSecret(text: string): void {
  for (const secret of SECRETS) assert.ok(!text.includes(secret), `${secret} in ${text}`)
}

describe('what may be told of an error', () => {
  it('is its code and the lines of this program, and no secret that is planted in it', () => {
    const own = new NodeError('NODE_DATABASE', `cannot read ${SECRETS[0]}`, { hint: SECRETS[1] })
    const error = new TypeError(`key ${SECRETS[0]}\n    at x (${import.meta.filename}:1:1)`)
    Object.assign(error, { name: SECRETS[1], code: SECRETS[2], path: `/home/${SECRETS[0]}` })
    const faked = new Error(SECRETS[0])
    faked.stack = [
      `Error: ${SECRETS[0]}`,
      `    at run (${fileURLToPath(new URL('../../node/', import.meta.url))}${SECRETS[1]}.ts:1:1)`,
      `    at run (/home/${SECRETS[2]}/node/main.ts:1:1)`,
      `    at run (${fileURLToPath(new URL('../../node/main.ts', import.meta.url))}:7:1)`,
    ].join('\n')
    class Swordfish extends Error {}
    Object.defineProperty(Swordfish, 'name', { value: SECRETS[0] })
    const strange: unknown[] = [
      SECRETS[0],
      { message: SECRETS[1] },
      null,
      new Swordfish(SECRETS[2]),
    ]
    for (const thrown of [own, error, faked, ...strange]) {
      assertNoSecret(JSON.stringify(factsOf(thrown)))
    }
    assert.equal(factsOf(own).code, 'NODE_DATABASE')
    assert.equal(factsOf(error).code, 'TypeError')
    assert.deepEqual(factsOf(faked), { code: 'Error', places: ['node/main.ts:7'] })
    assert.equal(factsOf(Object.assign(new Error('x'), { code: 'ENOSPC' })).code, 'ENOSPC')
  })

  it('never fails, whatever was thrown', () => {
    const hostile = new Proxy(new Error('x'), {
      get() {
        throw new Error(SECRETS[0])
      },
    })
    assert.deepEqual(factsOf(hostile), { places: [] })
  })

  it('names the innermost lines of this program first', () => {
    let error: unknown
    try {
      openRunMarker('\0', { version: '1', now: () => Number(Symbol('x')) })
    } catch (thrown) {
      error = thrown
    }
    assert.match(factsOf(error).places[0] ?? '', /^node\/run-marker\.ts:\d+$/)
  })
})

describe('the marker of a run', () => {
  const open = (dir: string, nowMs = START_MS) =>
    openRunMarker(dir, { version: '1.0.0', now: () => nowMs })

  it('tells nothing after an end in order, and the stage after another', () => {
    const dir = tempFolder()
    const first = open(dir)
    assert.equal(first.before, undefined)
    first.stage('running')
    first.done()
    const second = open(dir)
    assert.equal(second.before, undefined)
    second.stage('running')
    assert.deepEqual(open(dir).before, { stage: 'running', at: START_MS, version: '1.0.0' })
  })

  it('tells the error that ended the run, whatever comes after it', () => {
    const dir = tempFolder()
    const marker = open(dir)
    marker.failed(new RangeError(SECRETS[0]))
    marker.stage('stopping')
    marker.failed(new TypeError(SECRETS[1]))
    marker.done()
    assertNoSecret(readFileSync(join(dir, RUN_FILE), 'utf8'))
    const { before } = open(dir)
    assert.equal(before?.stage, 'starting')
    assert.equal(before.facts?.code, 'RangeError')
  })

  it('is believed where it is cut short or damaged, but not taken at its word', () => {
    for (const text of ['', '{"stage":', '[]', `{"stage":"${SECRETS[0]}","at":1,"version":""}`]) {
      const dir = tempFolder()
      writeFileSync(join(dir, RUN_FILE), text)
      assert.deepEqual(open(dir).before, { stage: 'running', at: 0, version: '' })
    }
  })
})

/** Devices of one home with these roles, over a network in memory. */
function home(roles: Readonly<Record<string, Role>>, clock: VirtualClock) {
  const network = new MemoryNetwork(clock)
  const parts: Incidents[] = []
  const signers = Object.fromEntries(Object.keys(roles).map((name) => [name, deviceOf(name)]))
  const roleOf = (key: Uint8Array): Role | undefined =>
    roles[Object.entries(signers).find(([, signer]) => equalBytes(signer.key, key))?.[0] ?? '']
  return {
    network,
    key: (name: string): Uint8Array => deviceOf(name).key,
    async start(name: string, changes: Partial<IncidentsDeps> = {}): Promise<Incidents> {
      const signer: Signer = deviceOf(name)
      const part = await startIncidents(
        {
          mesh: network.join(signer.key),
          store: openIncidentStore(openDatabase(':memory:', [migration])),
          signer,
          verifier: CONTEXT.verifier,
          home: HOME,
          version: '1.0.0',
          isOwner: (key) => {
            const role = roleOf(key)
            return role !== undefined && permits(role, 'inspect')
          },
          time: timeOf(clock),
          clock,
          log: pino({ level: 'silent' }),
          ...changes,
        },
        new AbortController().signal,
      )
      parts.push(part)
      return part
    },
    async [Symbol.asyncDispose]() {
      for (const part of parts) await part[Symbol.asyncDispose]()
    },
  }
}

const everything = { sinceMs: 0 }
const kinds = (part: Incidents): unknown[] =>
  part.list(everything).map(({ kind, code, count }) => [kind, code, count])

describe('incidents in a home', () => {
  for (const role of ROLES) {
    it(`are ${role === 'owner' ? 'told to an owner' : `kept from a ${role}, even one that asks`}`, async () => {
      const clock = virtualClock()
      await using house = home({ victim: 'sensor', reader: role }, clock)
      const victim = await house.start('victim')
      // A reader that does not ask itself whether it may.
      const reader = await house.start('reader', { isOwner: () => true })
      house.network.connect(house.key('victim'), house.key('reader'))
      victim.record({ kind: 'disk-full' })
      await clock.advance(1000)
      victim.record({ kind: 'crash', code: 'TypeError' })
      await clock.advance(1000)
      const seen = reader.list({ device: house.key('victim'), sinceMs: 0 })
      assert.equal(seen.length, role === 'owner' ? 2 : 0)
    })
  }

  it('go on over broken streams, and are told once', async () => {
    const clock = virtualClock()
    await using house = home({ victim: 'member', reader: 'owner' }, clock)
    const victim = await house.start('victim')
    const reader = await house.start('reader')
    const told: Report[] = []
    reader.events.on('incident', (report) => told.push(report))
    house.network.connect(house.key('victim'), house.key('reader'))
    for (let i = 0; i < 3; i++) {
      victim.record({ kind: 'unclean-end', stage: 'running' })
      await clock.advance(1000)
      house.network.breakStreams(house.key('victim'), house.key('reader'))
      await clock.advance(61_000)
    }
    assert.deepEqual(
      told.map(({ seq }) => seq),
      [1, 2, 3],
    )
  })

  it('count refused attempts of one kind in one report, soon at first, then once an hour', async () => {
    const clock = virtualClock()
    await using house = home({ victim: 'owner' }, clock)
    const victim = await house.start('victim')
    for (let i = 0; i < 500; i++) victim.attack('PAIRING_WRONG_CODE')
    await clock.advance(10_000)
    assert.deepEqual(kinds(victim), [['attack', 'PAIRING_WRONG_CODE', 500]])
    for (let i = 0; i < 300; i++) {
      victim.attack('PAIRING_WRONG_CODE')
      await clock.advance(5000)
    }
    assert.equal(kinds(victim).length, 1)
    await clock.advance(3_600_000)
    assert.deepEqual(kinds(victim)[1], ['attack', 'PAIRING_WRONG_CODE', 300])
    await clock.advance(3 * 3_600_000)
    assert.equal(kinds(victim).length, 2)
  })

  it('stay few however many names an attacker has', async () => {
    const clock = virtualClock()
    await using house = home({ victim: 'owner' }, clock)
    const victim = await house.start('victim')
    for (let i = 0; i < 1000; i++) victim.attack('TELEMETRY_BAD_PACK', deviceOf(`${i}`).key)
    await clock.advance(10_000)
    const counts = victim.list(everything).map(({ count }) => count)
    assert.ok(counts.length <= 33, `${counts.length}`)
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      1000,
    )
  })

  it('wait while the disk is full, and keep the newest on a device that has many', async () => {
    const clock = virtualClock()
    const db = openDatabase(':memory:', [migration])
    await using house = home({ victim: 'owner' }, clock)
    const victim = await house.start('victim', { store: openIncidentStore(db) })
    db.exec('PRAGMA max_page_count = 1')
    const { page_count: pages } = db.prepare('PRAGMA page_count').get() as { page_count: number }
    for (let i = 0; i < 30; i++) victim.record({ kind: 'disk-full', count: i + 1 })
    await clock.advance(1000)
    const early = victim.list(everything).length
    assert.ok(early < 30, `${early} reports in ${pages} pages`)
    db.exec('PRAGMA max_page_count = 100000')
    await clock.advance(60_000)
    assert.equal(victim.list(everything).length, 30)
    for (let i = 0; i < BOUNDS.maxKept; i++) {
      victim.record({ kind: 'attack', code: 'X' })
      await clock.advance(1)
    }
    const kept = victim.list(everything)
    assert.equal(kept.length, BOUNDS.maxKept)
    assert.equal(kept.at(-1)?.seq, BOUNDS.maxKept + 30)
  })
})

describe('a device that ended by an error', () => {
  it('leaves with an exit code, and its next start signs what happened, without the words', async () => {
    await using place = folders()
    const dir = await place.make()
    {
      await using device = await startDevice(dir)
      await makeHome(device)
    }
    const root = pathToFileURL(fileURLToPath(new URL('../../', import.meta.url))).href
    const script = `
      import { loadConfig } from '${root}node/config.ts'
      import { runDevice } from '${root}node/main.ts'
      const dir = process.argv[1]
      const flags = new Map([['mesh.port', '0'], ['mesh.multicast', 'false'], ['api.dashboard', 'false']])
      const config = await loadConfig({ env: {}, homeDir: dir, hostName: 'kitchen', uid: 1000, dataDir: dir, flags })
      const write = process.stderr.write.bind(process.stderr)
      process.stderr.write = (line) => {
        if (String(line).includes('"ready"')) {
          setImmediate(() => { throw Object.assign(new RangeError('${SECRETS[0]}'), { code: '${SECRETS[1]}' }) })
        }
        return write(line)
      }
      await runDevice(config, new AbortController().signal)`
    const args = ['--input-type=module-typescript', '-e', script, dir]
    const { status, stderr } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      timeout: 60_000,
    })
    assert.equal(status, 1, stderr)
    await using device = await startDevice(dir)
    await eventOf(device, 'incident')
    const [report] = await device.view.incidents({})
    assert.deepEqual(
      [report?.kind, report?.code, report?.stage, report?.seq],
      ['crash', 'RangeError', 'running', 1],
    )
    assertNoSecret(JSON.stringify(report))
    assertNoSecret(readFileSync(join(dir, 'kith.db-wal'), 'latin1'))
  })

  it('tells of a database that could not be read, once it can be again', async () => {
    await using place = folders()
    const dir = await place.make()
    {
      await using device = await startDevice(dir)
      await makeHome(device)
    }
    const path = join(dir, 'kith.db')
    const sound = readFileSync(path)
    writeFileSync(path, Buffer.alloc(sound.length, 7))
    await assert.rejects(startDevice(dir), { code: 'NODE_DATABASE' })
    writeFileSync(path, sound)
    await using device = await startDevice(dir)
    await eventOf(device, 'incident')
    const [report] = await device.view.incidents({})
    assert.deepEqual([report?.kind, report?.stage], ['database-damaged', 'starting'])
    assert.match(report?.places[0] ?? '', /^node\/storage\/db\.ts:\d+$/)
  })

  it('says unclean end after a kill, and nothing after an end in order', async () => {
    await using place = folders()
    const dir = await place.make()
    {
      await using device = await startDevice(dir)
      await makeHome(device)
    }
    openRunMarker(dir, { version: '1.0.0', now: () => Date.now() }).stage('running')
    {
      await using device = await startDevice(dir)
      await eventOf(device, 'incident')
      assert.deepEqual(
        (await device.view.incidents({})).map(({ kind, stage }) => [kind, stage]),
        [['unclean-end', 'running']],
      )
    }
    await using device = await startDevice(dir)
    assert.equal((await device.view.incidents({})).length, 1)
    assert.equal((await device.view.incidents({ since: Date.now() + 60_000 })).length, 0)
  })
})

describe('incidents of another device', () => {
  it('reach the owner, and are shown to nobody else', async () => {
    await using place = folders()
    await using owner = await startDevice(await place.make())
    await makeHome(owner)
    const dir = await place.make()
    {
      await using fresh = await startDevice(dir)
      await addByQr(owner, fresh, 'member')
    }
    openRunMarker(dir, { version: '1.0.0', now: () => Date.now() }).stage('running')
    await using member = await startDevice(dir, { 'mesh.peers': await loopbackOf(owner) })
    const { device } = await member.view.status()
    await eventOf(owner, 'incident', ({ data }) => data['device'] === device.id)
    const seen = await owner.view.incidents({ device: device.id })
    assert.deepEqual(
      seen.map(({ device: id, kind, seq }) => [id, kind, seq]),
      [[device.id, 'unclean-end', 1]],
    )
    await assert.rejects(member.view.incidents({}), { code: 'NODE_DENIED' })
  })
})
