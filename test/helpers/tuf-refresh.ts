/** One device that follows a channel over HTTP, as a process: `METADATA_DIR URL TARGETS_URL PIN NOW_MS`. */
import process from 'node:process'

import { TufError } from '../../node/services/update/tuf/errors.ts'
import { refreshOnce } from '../../node/services/update/tuf/refresh-once.ts'

const [metadataDir = '', url = '', targetsUrl = '', pin = '', now = '0'] = process.argv.slice(2)
try {
  const view = await refreshOnce(
    {
      metadataDir,
      url,
      targetsUrl,
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
