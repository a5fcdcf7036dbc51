/**
 * A small file that stands in the device's folder while it runs, and goes when it ends in order. One
 * that is found at the start tells of the run before: how far it was, and, where it died of an error,
 * which and where. Written in one go in the moment of the error, so nothing here waits or throws.
 */
import { closeSync, fsyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

import * as v from 'valibot'

import { factsOf, type Facts } from './facts.ts'

export type RunStage = 'starting' | 'running' | 'stopping'

export interface LastRun {
  readonly stage: RunStage
  /** When it was last known to run: UTC milliseconds by the clock of then. */
  readonly at: number
  readonly version: string
  /** Present where it died of an error. */
  readonly facts?: Facts | undefined
}

export interface RunMarker {
  /** What the run before left; undefined where it ended in order, or there was none. */
  readonly before: LastRun | undefined
  stage(stage: RunStage): void
  /** The program is about to end by `error`. */
  failed(error: unknown): void
  /** It ends in order. Not after `failed`. */
  done(): void
}

export const RUN_FILE = 'run'

const MAX_BYTES = 4096
const word = v.pipe(v.string(), v.maxLength(96))
const schema = v.strictObject({
  stage: v.picklist(['starting', 'running', 'stopping']),
  at: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(8_640_000_000_000_000)),
  version: v.pipe(v.string(), v.maxBytes(32)),
  facts: v.optional(
    v.strictObject({ code: v.optional(word), places: v.pipe(v.array(word), v.maxLength(8)) }),
  ),
})

/** The folder is locked by this process. */
export function openRunMarker(
  dataDir: string,
  { version, now }: { readonly version: string; readonly now: () => number },
): RunMarker {
  const path = join(dataDir, RUN_FILE)
  const before = read(path)
  let stage: RunStage = 'starting'
  let dead = false

  function put(facts?: Facts): void {
    const at = Math.max(0, Math.floor(now()))
    write(path, { stage, at, version: version.slice(0, 32), ...(facts ? { facts } : {}) })
  }

  put()
  return {
    before,
    stage(next) {
      if (dead) return
      stage = next
      put()
    },
    failed(error) {
      if (dead) return
      dead = true
      put(factsOf(error))
    },
    done() {
      if (!dead) rmSync(path, { force: true })
    },
  }
}

/**
 * In place: half a marker still tells that the run did not end in order. Only an error's is forced to
 * the disk: a process that dies leaves the others to the kernel, a power cut is no error to tell of,
 * and a busy disk would hold up each start.
 */
function write(path: string, run: LastRun): void {
  try {
    const file = openSync(path, 'w', 0o600)
    try {
      writeSync(file, JSON.stringify(run))
      if (run.facts !== undefined) fsyncSync(file)
    } finally {
      closeSync(file)
    }
  } catch {
    // A full or failing disk: there is nobody left to tell.
  }
}

function read(path: string): LastRun | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8').slice(0, MAX_BYTES)
  } catch {
    return undefined
  }
  try {
    return v.parse(schema, JSON.parse(text))
  } catch {
    return { stage: 'running', at: 0, version: '' }
  }
}
