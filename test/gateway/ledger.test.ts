import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { openLedger, type Ledger } from '../../gateway/ledger/ledger.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { decodeCbor } from '../../protocols/wire/index.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'

const SCRIPT = fileURLToPath(new URL('../helpers/ledger-killed.ts', import.meta.url))
const DAY_MS = 86_400_000
const PACED_BYTES = 300_000
/** A second, and a busy machine. */
const LOST_MS = 1500
const NOON = Date.UTC(2026, 0, 1, 12)
const LIMITS = { maxBytes: 100_000, maxDepth: 6, maxItems: 1000 }
const SEAL = Buffer.from('ours')

/** Not a signature, but enough to tell ours from another's. */
function sign(_: string, payload: Uint8Array): Uint8Array {
  return Buffer.concat([SEAL, payload])
}

function opened(_: string, bytes: Uint8Array): Uint8Array {
  if (Buffer.compare(bytes.subarray(0, SEAL.length), SEAL) !== 0) throw new Error('not signed')
  return bytes.subarray(SEAL.length)
}

function listOf(row: Uint8Array): readonly unknown[] {
  return decodeCbor(opened('', row), LIMITS) as unknown[]
}

/** What kind, and of which day. */
function kindsOf(ledger: Ledger): string[] {
  return ledger.rows().map((row) => {
    const [, , , kind, , day] = listOf(row)
    return `${String(kind)} ${String(day).slice(8)}`
  })
}

let folder = ''
let path = ''
let clock: VirtualClock
/** A virtual clock is moved timer by timer: a day of seconds would take long. */
const passDay = async (): Promise<void> => {
  clock.setWall(clock.now() + DAY_MS - 2000)
  await clock.advance(2000)
}
const open = (): Ledger => openLedger(path, { clock, sign, opened })
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kith-ledger-'))
  path = join(folder, 'ledger.db')
  clock = virtualClock(NOON)
})
afterEach(() => rmSync(folder, { recursive: true }))

/** Change the file behind the ledger's back. */
function tamper(sql: string): void {
  const db = new DatabaseSync(path)
  db.exec(sql)
  db.close()
}

describe('the ledger', () => {
  let server: Server
  let received = 0
  let heard = (): void => undefined
  const port = (): number => (server.address() as AddressInfo).port

  beforeEach(async () => {
    received = 0
    server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.on('data', ({ length }) => {
        received += length
        heard()
      })
    })
    server.listen(0, '::1')
    await once(server, 'listening')
  })
  afterEach(() => void server.close())

  it('counts what leaves through sockets, by field and day', async () => {
    await using ledger = open()
    const meter = ledger.meter('home')
    const socket = connect(port(), '::1')
    meter.watch(socket)
    await once(socket, 'connect')
    socket.end(Buffer.alloc(10_000))
    meter.told({ deviceId: 'elm', sensor: 'temperature' }, 600)
    meter.told({ deviceId: 'elm', sensor: 'temperature' }, 400)
    await once(socket, 'close')
    assert.equal(received, 10_000)
    const [day] = ledger.egress()
    assert.deepEqual(
      [day?.sink, day?.day, day?.bytes, day?.toldBytes],
      ['home', '2026-01-01', 10_000, 1000],
    )
    assert.deepEqual(day?.fields, [{ device: 'elm', sensor: 'temperature', bytes: 1000, times: 2 }])
    assert.ok((day?.headerBytes ?? 0) >= 8 * 86)
    await passDay()
    meter.told({ deviceId: 'elm', sensor: 'temperature' }, 1)
    assert.deepEqual(
      ledger.egress('2026-01-02').map(({ day: name, toldBytes }) => [name, toldBytes]),
      [['2026-01-02', 1]],
    )
  })

  it('loses a second at most when it is killed, and says that it was', async (t) => {
    const plain = (_: string, bytes: Uint8Array): Uint8Array => bytes
    for (const file of ['one.db', 'two.db']) {
      const there = Promise.withResolvers<void>()
      const arrived: { atMs: number; bytes: number }[] = []
      const before = received
      heard = () => {
        arrived.push({ atMs: performance.now(), bytes: received - before })
        if (received - before >= PACED_BYTES) there.resolve()
      }
      const at = join(folder, file)
      const child = spawn(process.execPath, [SCRIPT, at, String(port())], { stdio: 'inherit' })
      const ended = once(child, 'exit')
      await Promise.race([there.promise, ended])
      child.kill('SIGKILL')
      const killedMs = performance.now()
      assert.deepEqual(await ended, [null, 'SIGKILL'])
      await using ledger = openLedger(at, { clock, sign: plain, opened: plain })
      const verified = ledger.verify()
      assert.deepEqual([verified.problem, verified.kills], [undefined, 1])
      const told = ledger.egress().reduce((sum, { bytes }) => sum + bytes, 0)
      t.diagnostic(`${told} of ${arrived.at(-1)?.bytes} are told`)
      const long = arrived.findLast(({ atMs }) => atMs < killedMs - LOST_MS)?.bytes ?? 0
      assert.ok(long > 0 && told >= long, `${told} of ${long}`)
      assert.ok(told <= (arrived.at(-1)?.bytes ?? 0) + 10_000)
    }
  })

  it('counts nothing where nothing leaves', async () => {
    await using ledger = open()
    ledger.meter('home')
    await clock.advance(3_600_000)
    assert.deepEqual(ledger.egress(), [])
  })
})

describe('the rows of the ledger', () => {
  const tell = (ledger: Ledger, bytes: number): void =>
    ledger.meter('home').told({ deviceId: 'elm', sensor: 'temperature' }, bytes)

  it('hold on to each other, and leave out no day, whenever it was stopped', async () => {
    const first = open()
    tell(first, 1)
    await passDay()
    tell(first, 2)
    await first[Symbol.asyncDispose]()
    // The day ends while nothing runs.
    clock.setWall(clock.now() + DAY_MS)
    const second = open()
    tell(second, 3)
    second.egress()
    // Not stopped: as a kill leaves it, and a day later.
    clock.setWall(clock.now() + DAY_MS)
    const third = open()
    assert.deepEqual(kindsOf(third), [
      'start 01',
      'day 01',
      'stop 02',
      'day 02',
      'start 03',
      'day 03',
      'start-after-kill 04',
    ])
    let before: Uint8Array = new Uint8Array(32)
    for (const row of third.rows()) {
      assert.deepEqual(listOf(row)[2], before)
      before = sha256(row)
    }
    assert.equal(third.verify().problem, undefined)
    await third[Symbol.asyncDispose]()
  })

  it('have room for a day with more sensors than a record holds', async () => {
    await using ledger = open()
    for (let i = 0; i < 12_000; i++) {
      ledger.meter('home').told({ deviceId: 'elm', sensor: `a sensor with a long name ${i}` }, 1)
      if (i === 9000) ledger.egress()
    }
    const [day] = ledger.egress()
    assert.equal(day?.toldBytes, 12_000)
    assert.ok((day?.fields.length ?? 0) <= 10_001)
    await passDay()
    assert.ok(kindsOf(ledger).includes('day 01'))
    assert.equal(ledger.verify().problem, undefined)
  })

  it('are kept up to a bound, and days too', async () => {
    const first = open()
    for (let day = 0; day < 405; day++) {
      tell(first, 1)
      await passDay()
    }
    assert.equal(first.egress().length, 400)
    assert.equal(first.verify().problem, undefined)
    await first[Symbol.asyncDispose]()
    const more = 'SELECT 1000 UNION ALL SELECT n + 1 FROM more WHERE n < 11000'
    tamper(`WITH RECURSIVE more(n) AS (${more}) INSERT INTO row SELECT n, x'00' FROM more`)
    await using second = open()
    assert.equal(second.rows().length, 10_000)
  })

  for (const [what, sql, problem] of [
    ['changed', `UPDATE row SET signed = x'6f757273' WHERE n = 2`, /not of this gateway/],
    ['signed by another', `UPDATE row SET signed = x'00' WHERE n = 2`, /not signed/],
    ['taken out', 'DELETE FROM row WHERE n = 2', /after row 1 comes row 3/],
    ['taken from the beginning', 'DELETE FROM row WHERE n < 3', /are missing, from 1 on/],
    [
      'changed in what they tell',
      `UPDATE field SET bytes = 0 WHERE day = '2026-01-01'`,
      /2026-01-01/,
    ],
    ['without their day', `DELETE FROM total WHERE day = '2026-01-02'`, /2026-01-02/],
    [
      'with less than before',
      `UPDATE total SET bytes = -1 WHERE day = '2026-01-03'`,
      /less is told of home/,
    ],
  ] as const) {
    it(`are found out where they are ${what}`, async () => {
      const ledger = open()
      for (let day = 0; day < 2; day++) {
        tell(ledger, 5)
        await passDay()
      }
      tell(ledger, 5)
      ledger.egress()
      await ledger[Symbol.asyncDispose]()
      const good = open()
      assert.equal(good.verify().problem, undefined)
      await good[Symbol.asyncDispose]()
      tamper(sql)
      const bad = open()
      assert.match(bad.verify().problem ?? '', problem)
      await bad[Symbol.asyncDispose]()
    })
  }
})
