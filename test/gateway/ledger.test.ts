import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openLedger, type Ledger } from '../../gateway/ledger/ledger.ts'
import { sha256 } from '../../protocols/identity/index.ts'
import { decodeCbor } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'

const DAY_MS = 86_400_000
const LIMITS = { maxBytes: 100_000, maxDepth: 6, maxItems: 1000 }
const sign = (_: string, payload: Uint8Array): Uint8Array => payload

function kindsOf(ledger: Ledger): unknown[] {
  return ledger.rows().map((row) => (decodeCbor(row, LIMITS) as unknown[])[3])
}

describe('the ledger', () => {
  it('counts what leaves through sockets, by field and day, in rows that hold on to each other', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kith-ledger-'))
    const path = join(folder, 'ledger.db')
    const clock = virtualClock(Date.UTC(2026, 0, 1, 12))
    let received = 0
    const server = createServer((socket) => socket.on('data', ({ length }) => (received += length)))
    try {
      server.listen(0, '::1')
      await once(server, 'listening')
      const ledger = openLedger(path, { clock, sign })
      const meter = ledger.meter('home')
      const socket = connect((server.address() as AddressInfo).port, '::1')
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
      assert.deepEqual(day?.fields, [
        { device: 'elm', sensor: 'temperature', bytes: 1000, times: 2 },
      ])
      assert.ok((day?.headerBytes ?? 0) >= 8 * 86)
      await clock.advance(DAY_MS)
      meter.told({ deviceId: 'elm', sensor: 'temperature' }, 1)
      assert.deepEqual(
        ledger.egress('2026-01-02').map(({ day: name, toldBytes }) => [name, toldBytes]),
        [['2026-01-02', 1]],
      )
      await ledger[Symbol.asyncDispose]()
      const second = openLedger(path, { clock, sign })
      assert.deepEqual(kindsOf(second), ['start', 'day', 'stop', 'start'])
      // Not stopped: as a kill leaves it.
      const third = openLedger(path, { clock, sign })
      assert.equal(kindsOf(third).at(-1), 'start-after-kill')
      let before: Uint8Array = new Uint8Array(32)
      for (const row of third.rows()) {
        assert.deepEqual((decodeCbor(row, LIMITS) as unknown[])[2], before)
        before = sha256(row)
      }
      await third[Symbol.asyncDispose]()
      await second[Symbol.asyncDispose]()
    } finally {
      server.close()
      rmSync(folder, { recursive: true })
    }
  })

  it('counts nothing where nothing leaves', async () => {
    const clock = virtualClock()
    await using ledger = openLedger(':memory:', { clock, sign })
    ledger.meter('home')
    await clock.advance(3_600_000)
    assert.deepEqual(ledger.egress(), [])
  })
})
