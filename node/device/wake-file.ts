/**
 * A file whose change is an alarm, as another program, a udev rule or a GPIO script writes it. The
 * file is only read. Its folder must be there; the file itself may come and go.
 */
import { watch } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'

import type { Logger } from 'pino'

import type { Clock } from '../env.ts'
import { printable } from '../printable.ts'
import { MAX_REASON_CHARS } from './duty-cycle.ts'

/** A file that is written anew is empty for a moment. */
const SETTLE_MS = 5
const MAX_BYTES = 256

/** Watched when this resolves; never rejects. */
export async function watchWakeFile(
  file: string,
  deps: { readonly clock: Clock; readonly log: Logger },
  onWake: (reason: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const name = path.basename(file)
  let cancel: (() => void) | undefined
  let stamp = ''

  const look = async (): Promise<void> => {
    cancel = undefined
    const now = await readReason(file)
    if (now === undefined || now.stamp === stamp || signal.aborted) return
    stamp = now.stamp
    onWake(now.reason)
  }
  const failed = (err: unknown): void =>
    deps.log.error({ err, file }, 'the wake file is not watched')
  signal.addEventListener('abort', () => cancel?.(), { once: true })
  try {
    stamp = (await readReason(file))?.stamp ?? ''
    if (signal.aborted) return
    const watcher = watch(path.dirname(file), { signal }, (_event, changed) => {
      if (changed === name) cancel ??= deps.clock.timer(SETTLE_MS, () => void look())
    })
    watcher.on('error', failed)
  } catch (error) {
    failed(error)
  }
}

/** The first line, as text for people; undefined where there is no such file. */
export async function readReason(
  file: string,
): Promise<{ readonly reason: string; readonly stamp: string } | undefined> {
  try {
    await using handle = await open(file, 'r')
    const { mtimeNs, ino } = await handle.stat({ bigint: true })
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_BYTES), 0, MAX_BYTES, 0)
    const [line = ''] = buffer.toString('utf8', 0, bytesRead).split('\n')
    const reason = printable(line.trim()).slice(0, MAX_REASON_CHARS)
    return { reason: reason === '' ? 'file' : reason, stamp: `${ino} ${mtimeNs}` }
  } catch {
    return undefined
  }
}
