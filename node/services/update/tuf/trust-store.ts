/**
 * What a device believes of one channel, in one file: the roots since the one that was pinned, the
 * newest file of each other role, and all releases it ever saw. It is replaced as a whole (temporary
 * file, fsync, rename), so a power cut leaves all of the old or all of the new. A second copy stands
 * in where the first is damaged: forgetting the newest versions would let old ones in again.
 *
 * File: 8 bytes `KITHTUF1`, 32 bytes SHA-256 of the rest, CBOR.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import {
  bool,
  bytes,
  concatBytes,
  equalBytes,
  field,
  list,
  message,
  optional,
  record,
  text,
  uint,
  utf8,
} from '../../../../protocols/wire/index.ts'
import { ensurePrivateFolder, writeFileAtomic } from '../../../storage/files.ts'
import { TufError } from './errors.ts'
import { TUF_LIMITS } from './metadata.ts'
import { MAX_WITNESSED, NO_WITNESS, type Witness } from './witness.ts'

export interface Trust {
  /** SHA-256 of the first root, 32 bytes. */
  readonly pin: Uint8Array
  /** From version 1 on, none left out. */
  readonly roots: readonly Uint8Array[]
  readonly timestamp?: Uint8Array
  readonly snapshot?: Uint8Array
  readonly targets?: Uint8Array
  readonly witness: Witness
  /** Latest time of a synced clock that fits the channel's own times, in ms. */
  readonly seenMs: number
}

export interface TrustStore {
  /** undefined before anything was trusted. @throws TufError TUF_STORE */
  read(): Promise<Trust | undefined>
  /** Resolves once it would survive a power cut. */
  write(trust: Trust): Promise<void>
}

const MAGIC = utf8('KITHTUF1')
const HEAD_BYTES = MAGIC.length + 32
const FILES = ['trust', 'trust.copy'] as const

const count = uint(Number.MAX_SAFE_INTEGER)
const witnessed = record({
  path: field(1, text(256)),
  sha256: field(2, text(64)),
  length: field(3, count),
  withdrawn: field(4, bool),
  since: field(5, count),
})
const alarm = record({
  name: field(1, text(256)),
  build: field(2, count),
  a: field(3, text(512)),
  b: field(4, text(512)),
  since: field(5, count),
})

const Stored = message(
  'update.trust',
  {
    pin: field(1, bytes({ length: 32 })),
    roots: field(2, list(bytes({ max: TUF_LIMITS.root }), { min: 1, max: TUF_LIMITS.maxRoots })),
    timestamp: optional(3, bytes({ max: TUF_LIMITS.timestamp })),
    snapshot: optional(4, bytes({ max: TUF_LIMITS.snapshot })),
    targets: optional(5, bytes({ max: TUF_LIMITS.targets })),
    seen: field(6, list(witnessed, { max: MAX_WITNESSED })),
    alarms: field(7, list(alarm, { max: 64 })),
    seenMs: field(8, count),
  },
  { maxBytes: 32 * 1024 * 1024, maxDepth: 6, maxItems: 200_000 },
)

/** The store in `folder`, which is made where it is missing, mode 0700. */
export async function openTrustStore(folder: string, channel: string): Promise<TrustStore> {
  await ensurePrivateFolder(folder)
  return {
    async read() {
      const found = await Promise.all(
        FILES.map((name) => readFile(join(folder, name)).catch(absent)),
      )
      for (const file of found) {
        const trust = file === undefined ? undefined : decode(file)
        if (trust !== undefined) return trust
      }
      if (found.every((file) => file === undefined)) return undefined
      throw new TufError('TUF_STORE', channel, `both copies in ${folder}`)
    },
    async write({ witness, ...rest }) {
      const body = Stored.encode({ ...rest, seen: witness.seen, alarms: witness.alarms })
      const file = concatBytes(MAGIC, digest(body), body)
      for (const name of FILES) await writeFileAtomic(join(folder, name), file)
    },
  }
}

export function freshTrust(pin: Uint8Array, firstRoot: Uint8Array): Trust {
  return { pin, roots: [firstRoot], witness: NO_WITNESS, seenMs: 0 }
}

function decode(file: Uint8Array): Trust | undefined {
  const body = file.subarray(HEAD_BYTES)
  const intact =
    file.length > HEAD_BYTES &&
    equalBytes(file.subarray(0, MAGIC.length), MAGIC) &&
    equalBytes(file.subarray(MAGIC.length, HEAD_BYTES), digest(body))
  if (!intact) return undefined
  try {
    const { seen, alarms, ...rest } = Stored.decode(body)
    return { ...rest, witness: { seen, alarms } }
  } catch {
    return undefined
  }
}

function digest(body: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(body).digest())
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined
  throw error
}
