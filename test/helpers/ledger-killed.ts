/**
 * Runs alone, until it is killed: keeps the ledger of the first argument, and writes to the port of the
 * second at a steady pace. Started by ledger.test.ts.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import process from 'node:process'
import { setTimeout as pause } from 'node:timers/promises'

import { openLedger } from '../../gateway/ledger/ledger.ts'
import { systemClock } from '../../node/env.ts'

const [, , path = '', port = ''] = process.argv
const ledger = openLedger(path, {
  clock: systemClock,
  sign: (_, payload) => payload,
  opened: (_, payload) => payload,
})
const meter = ledger.meter('out')
const socket = connect(Number(port), '::1')
meter.watch(socket)
await once(socket, 'connect')
for (;;) {
  meter.told({ deviceId: 'elm', sensor: 'count' }, 1000)
  socket.write(Buffer.alloc(1000))
  await pause(5)
}
