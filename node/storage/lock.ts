/**
 * One process for each data folder. The lock is SQLite's exclusive lock on `kith.lock`, a file lock
 * that the kernel drops when the process ends in any way, so that a killed process leaves none
 * behind. `kith.pid` only tells people who holds it.
 */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { DatabaseSync } from 'node:sqlite'

import { NodeError } from '../errors.ts'

const SQLITE_BUSY = 5

/** Disposing of the result frees the folder. @throws NodeError NODE_LOCKED naming the holder's pid */
export async function lockFolder(dataDir: string): Promise<AsyncDisposable> {
  const pidFile = join(dataDir, 'kith.pid')
  const db = new DatabaseSync(join(dataDir, 'kith.lock'), { timeout: 0 })
  try {
    // Nothing is ever written, so the file stays empty; no journal file is needed or made.
    db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (cause) {
    db.close()
    if ((cause as { errcode?: number }).errcode !== SQLITE_BUSY) throw cause
    const pid = await readFile(pidFile, 'utf8').catch(() => '')
    const holder = /^\d+\n$/.test(pid) ? `process ${pid.trim()}` : 'another process'
    throw new NodeError('NODE_LOCKED', `Kith is already running on ${dataDir}: ${holder}.`, {
      cause,
      hint: 'Use that one, or give this one its own folder with --data-dir.',
    })
  }
  await writeFile(pidFile, `${process.pid}\n`, { mode: 0o600 })
  let held = true
  return {
    async [Symbol.asyncDispose]() {
      if (!held) return
      held = false
      await rm(pidFile, { force: true })
      db.close()
    },
  }
}
