/** One device that follows a channel over HTTP, as a process: `MEMORY URL PIN NOW_MS`. */
import process from 'node:process'

import { TufError } from '../../node/services/update/tuf/errors.ts'
import { httpSource, refreshOnce } from '../../node/services/update/tuf/refresh-once.ts'

const [memory = '', url = '', pin = '', now = '0'] = process.argv.slice(2)
try {
  const view = await refreshOnce(
    {
      memory,
      channel: 'tuf',
      source: httpSource(url),
      pin: new Uint8Array(Buffer.from(pin, 'hex')),
      time: () => ({ nowMs: Number(now), floorMs: 0, quality: 'synced' }),
    },
    AbortSignal.timeout(20_000),
  )
  const { roles, releases, alarms } = view
  process.stdout.write(JSON.stringify({ roles, releases, alarms }))
} catch (error) {
  if (!(error instanceof TufError)) throw error
  process.stdout.write(JSON.stringify({ code: error.code, about: error.about }))
  process.exitCode = 1
}
