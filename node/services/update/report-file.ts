/** The reports that this device keeps over a restart, its own among them: one file, replaced as a whole. */
import { join } from 'node:path'

import {
  openUpdateReport,
  sealUpdateReport,
  type UpdateReport,
  type UpdateReportContent,
} from '../../../protocols/update/index.ts'
import { equalBytes } from '../../../protocols/wire/index.ts'
import { readPrivateFile, writeFileAtomic } from '../../storage/files.ts'
import type { UpdatesDeps } from './types.ts'

export interface ReportFile extends AsyncDisposable {
  /** Those that were kept, checked again. */
  readonly kept: readonly UpdateReport[]
  /** Sign one of this device's own: newer than all before it. */
  seal(content: Omit<UpdateReportContent, 'seq' | 'at' | 'clock'>): UpdateReport
  /** Something is new: written within a second. */
  changed(): void
}

const FILE = 'reports.json'
const MAX_BYTES = 16 * 1024 * 1024
const WRITE_MS = 1_000

type FileDeps = Pick<
  UpdatesDeps,
  'folder' | 'home' | 'signer' | 'verifier' | 'clock' | 'log' | 'time'
>

export async function openReportFile(
  deps: FileDeps,
  all: () => readonly UpdateReport[],
): Promise<ReportFile> {
  const { folder, home, signer, clock, log, time } = deps
  const path = join(folder, FILE)
  const kept = await read(path, deps)
  let seq = Math.max(
    0,
    ...kept.filter(({ device }) => equalBytes(device, signer.key)).map((one) => one.seq),
  )
  let cancel: (() => void) | undefined
  let writing: Promise<void> = Promise.resolve()

  function write(): void {
    cancel = undefined
    const text = JSON.stringify(all().map(({ bytes }) => Buffer.from(bytes).toString('base64')))
    writing = writing
      .then(() => writeFileAtomic(path, new TextEncoder().encode(text)))
      .catch((err: unknown) => log.warn({ err }, 'reports of updates could not be kept'))
  }

  return {
    kept,
    seal(content) {
      // By the clock, so that a lost file does not make new reports older than those that others have.
      seq = Math.max(seq + 1, clock.now())
      const { quality } = time()
      return sealUpdateReport({ ...content, seq, at: clock.now(), clock: quality }, home, signer)
    },
    changed() {
      cancel ??= clock.timer(WRITE_MS, write)
    },
    async [Symbol.asyncDispose]() {
      if (cancel !== undefined) {
        cancel()
        write()
      }
      await writing
    },
  }
}

async function read(path: string, { home, verifier, log }: FileDeps): Promise<UpdateReport[]> {
  const file = await readPrivateFile(path, MAX_BYTES)
  if (file.state !== 'ok') return []
  try {
    const said: unknown = JSON.parse(new TextDecoder().decode(file.bytes))
    if (!Array.isArray(said)) return []
    return said.flatMap((one) =>
      typeof one === 'string'
        ? opened(new Uint8Array(Buffer.from(one, 'base64')), { home, verifier })
        : [],
    )
  } catch (err) {
    log.warn({ err }, 'kept reports of updates are damaged')
    return []
  }
}

function opened(bytes: Uint8Array, context: Pick<FileDeps, 'home' | 'verifier'>): UpdateReport[] {
  try {
    return [openUpdateReport(bytes, context)]
  } catch {
    return []
  }
}
