/** The backup side of `NodeView`: all that a new device needs to have this one's past, but for its key. */
import { join } from 'node:path'

import { toHex } from '../../protocols/wire/index.ts'
import type { NodeView } from '../api/view.ts'
import { fileFrames } from '../storage/backup-files.ts'
import { encodeBackup } from '../storage/backup-format.ts'
import { backupFrames } from '../storage/backup-rows.ts'
import { updateFolders } from '../update-folders.ts'
import type { DeviceBase } from './base.ts'
import { FILES } from './open-base.ts'

export function backupView(base: DeviceBase): Pick<NodeView, 'backup'> {
  const { clock, config, packs, signer, version } = base
  const { configFile, dataDir } = config.paths
  return {
    async *backup(signal) {
      const head = { device: toHex(signer.key), version, at: clock.now() }
      const files = await fileFrames(configFile, updateFolders(config.paths).state)
      // In the turn in which the database is looked at: summaries hold what was put off until then.
      packs.file()
      const database = join(dataDir, FILES.database)
      for await (const piece of encodeBackup(backupFrames({ database, head, files }))) {
        if (signal.aborted) return
        yield piece
      }
    },
  }
}
