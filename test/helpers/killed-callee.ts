/**
 * A device that is killed while it executes a call: the database, where it is killed, the file that
 * its action writes to, and the call are the arguments. Prints the receipt where it lives that long.
 * Started by calls-once.test.ts.
 */
import { appendFileSync } from 'node:fs'
import process from 'node:process'

import { openCallStore } from '../../node/storage/calls.ts'
import { migration } from '../../node/storage/calls.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { fromHex, toHex } from '../../protocols/wire/index.ts'
import { callableHome, lamp } from './callable.ts'
import { virtualClock } from './clock.ts'

const [, , path = '', where = '', acted = '', call = ''] = process.argv

function dieAt(place: string): void {
  if (place === where) process.kill(process.pid, 'SIGKILL')
}

async function main(): Promise<void> {
  const store = openCallStore(openDatabase(path, [migration]))
  const thing = lamp()
  const home = callableHome(virtualClock())
  const { calls } = await home.start('lamp', {
    store: {
      ...store,
      executed: {
        ...store.executed,
        begin(...row) {
          dieAt('before-begin')
          const no = store.executed.begin(...row)
          dieAt('after-begin')
          return no
        },
        finish(...row) {
          dieAt('before-finish')
          store.executed.finish(...row)
          dieAt('after-finish')
        },
      },
    },
    thing: {
      ...thing,
      async invoke() {
        dieAt('before-act')
        appendFileSync(acted, 'acted\n')
        dieAt('after-act')
        return undefined
      },
    },
  })
  const receipts = await calls.deliver([fromHex(call)], home.key('button'))
  process.stdout.write(receipts.map(toHex).join('\n'))
  dieAt('after-answer')
}

await main()
