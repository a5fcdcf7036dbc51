/**
 * A small release for the demo's home: made, signed and published with the same commands that a
 * person would type, and then watched until every device has it and found it well.
 */
import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import type { UpdatesState } from '../../api/view.ts'
import { NodeError } from '../../errors.ts'
import type { DemoHome, Member } from './home.ts'

/** What spread, and which devices gave parts of it. */
export interface Spread {
  readonly version: string
  readonly from: readonly string[]
}

const NAME = 'hello'
const LIMIT_MS = 60_000
const COMMAND_MS = 30_000
const POLL_MS = 100

/** Extension of this file, so that a published package starts compiled files. */
const EXTENSION = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
const CLI = fileURLToPath(new URL(`../main.${EXTENSION}`, import.meta.url))

/** The home is new, and `hub` owns it. @throws NodeError NODE_TIMEOUT where it does not spread */
export async function spreadRelease(
  { hub, others }: DemoHome,
  root: string,
  signal: AbortSignal,
): Promise<Spread> {
  const before = await hub.client.updates()
  if (before.channels.length === 0) {
    await kith(hub, ['update', 'init'], signal)
    // Nobody waits an hour for a demo.
    await kith(hub, ['update', 'rollout', '--ring', '1:1s', '--ring', '100%'], signal)
  }
  const version = `1.0.${before.installed.find(({ name }) => name === NAME)?.build ?? 0}`
  const folder = await madeFolder(root, version)
  const health = ['--health', 'command=/bin/true', '--health', 'for=1s']
  await kith(
    hub,
    ['update', 'publish', folder, '--name', NAME, '--version', version, ...health],
    signal,
  )
  return spreadOf(await untilWell(hub, version, 1 + others.length, signal), version)
}

/** A program that says its version. */
async function madeFolder(root: string, version: string): Promise<string> {
  const folder = join(root, 'release', NAME)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeFile(join(folder, 'run'), `#!/bin/sh\necho "hello, ${version}"\n`, { mode: 0o755 })
  return folder
}

function kith({ device }: Member, args: readonly string[], signal: AbortSignal): Promise<unknown> {
  const command = [...process.execArgv, CLI, '--data-dir', device.dataDir, '--json', '-y', ...args]
  return promisify(execFile)(process.execPath, command, { timeout: COMMAND_MS, signal })
}

/** @throws NodeError NODE_TIMEOUT */
async function untilWell(
  { client }: Member,
  version: string,
  count: number,
  signal: AbortSignal,
): Promise<UpdatesState> {
  const endMs = performance.now() + LIMIT_MS
  for (;;) {
    const state = await client.updates()
    if (wellIn(state, version).length >= count) return state
    if (performance.now() > endMs) {
      const told = state.devices.map(({ deviceName, phase }) => `${deviceName}: ${phase}`)
      throw new NodeError('NODE_TIMEOUT', 'The release did not reach every device.', {
        hint: told.join(', '),
      })
    }
    await pause(POLL_MS, undefined, { signal })
  }
}

function wellIn({ devices }: UpdatesState, version: string): UpdatesState['devices'] {
  return devices.filter(
    (one) => one.name === NAME && one.version === version && one.phase === 'healthy',
  )
}

function spreadOf(state: UpdatesState, version: string): Spread {
  const names = wellIn(state, version).flatMap(({ from }) => from.map(({ name }) => name))
  return { version, from: [...new Set(names)].toSorted() }
}
