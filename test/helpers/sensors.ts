import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

import { readConfigText } from '../../node/config-file.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { createBrokers } from '../../node/machine/brokers.ts'
import {
  configuredSources,
  type PolledSource,
  type SensorSource,
  type StreamSource,
} from '../../node/services/sensors/index.ts'

/** Sources from the text of a settings file. */
export function sourcesOf(toml: string, root = '/'): SensorSource[] {
  const { sensors, problems } = readConfigText(toml)
  assert.deepEqual(problems, [])
  const brokers = createBrokers({ clock: systemClock, random: systemRandom })
  return configuredSources(sensors, { root, clock: systemClock, brokers })
}

export function polledOf(toml: string, root?: string): PolledSource {
  const [source] = sourcesOf(toml, root)
  assert.ok(source !== undefined && 'read' in source)
  return source
}

export function streamOf(toml: string): StreamSource {
  const [source] = sourcesOf(toml)
  assert.ok(source !== undefined && 'run' in source)
  return source
}

/** The one value of a source, now. */
export async function valueOf(source: PolledSource, signal?: AbortSignal): Promise<unknown> {
  const [sample, ...more] = await source.read(signal)
  assert.equal(more.length, 0)
  return sample?.value
}

export interface Tree extends Disposable {
  readonly root: string
  path(name: string): string
  write(name: string, content: string | Uint8Array, mode?: number): string
}

/** A folder with files, gone at the end. */
export function tree(): Tree {
  const root = mkdtempSync(join(tmpdir(), 'kith-sensors-'))
  return {
    root,
    path: (name) => join(root, name),
    write(name, content, mode = 0o600) {
      const path = join(root, name)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, content)
      chmodSync(path, mode)
      return path
    },
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  }
}

/** What a stream says, to wait for. */
export interface Heard extends AsyncDisposable {
  readonly values: unknown[]
  readonly problems: string[]
  /** The next thing it says: a value, `ready`, or a problem's text. Each is given once. */
  next(): Promise<unknown>
  /** How the run ended. */
  readonly ended: Promise<string>
}

export function listenTo(source: StreamSource): Heard {
  const stop = new AbortController()
  const said: unknown[] = []
  const values: unknown[] = []
  const problems: string[] = []
  let wake = Promise.withResolvers<void>()
  const say = (what: unknown): void => {
    said.push(what)
    wake.resolve()
    wake = Promise.withResolvers()
  }
  const sink = {
    sample: ({ value }: { value: unknown }) => (values.push(value), say(value)),
    ready: () => say('ready'),
    problem: ({ message }: Error) => (problems.push(message), say(message)),
  }
  const ended = source.run(sink, stop.signal).then(
    () => 'stopped',
    (error: Error) => error.message,
  )
  return {
    values,
    problems,
    ended,
    async next() {
      while (said.length === 0) await wake.promise
      return said.shift()
    },
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('enough'))
      await ended
    },
  }
}
