/**
 * Tells that a file may have another content: written in place, put in its place by a rename, or gone
 * and back. It tells too often rather than too seldom. What the kernel shows under /sys, /proc and
 * /dev changes without a word; such files have to be read again and again.
 */
import { watch, type FSWatcher } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

import type { Clock } from '../env.ts'

/** A folder that comes later, or was replaced, is found after this. */
const AGAIN_MS = 5000
const GONE = ''

/** Until `signal` aborts. A file or folder that is not there is waited for. */
export function watchFile(
  path: string,
  clock: Clock,
  onChange: () => void,
  signal: AbortSignal,
): void {
  const [folder, name] = [dirname(path), basename(path)]
  let inFolder: FSWatcher | undefined
  /** Follows a link, which a watch of the link's folder does not. */
  let itself: FSWatcher | undefined
  let watched: string | undefined
  let cancel = (): void => undefined

  function watchItself(): void {
    itself?.close()
    itself = begin(path, onChange)
  }

  function watchFolder(): void {
    inFolder?.close()
    inFolder = begin(folder, (event, changed) => {
      // So the kernel says that the folder itself has gone.
      if (changed === basename(folder)) watched = GONE
      if (changed !== null && changed !== name) return
      if (event === 'rename') watchItself()
      onChange()
    })
    watchItself()
  }

  async function look(): Promise<void> {
    const now = await identityOf(folder)
    if (signal.aborted) return
    if (now !== watched || inFolder === undefined) {
      watched = now
      watchFolder()
      // What the watch before had not told yet is lost with it.
      onChange()
    }
    cancel = clock.timer(AGAIN_MS, () => void look())
  }

  signal.addEventListener(
    'abort',
    () => {
      cancel()
      inFolder?.close()
      itself?.close()
    },
    { once: true },
  )
  void look()
}

/** Undefined where there is nothing to watch. */
function begin(
  path: string,
  onEvent: (event: string, changed: string | null) => void,
): FSWatcher | undefined {
  try {
    const watcher = watch(path, onEvent)
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    return undefined
  }
}

async function identityOf(folder: string): Promise<string> {
  try {
    const { dev, ino, birthtimeNs } = await stat(folder, { bigint: true })
    return `${dev} ${ino} ${birthtimeNs}`
  } catch {
    return GONE
  }
}
