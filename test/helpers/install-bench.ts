/** A folder for each test, a device that installs in it, and programs written into it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'node:test'

import { loadConfig } from '../../node/config.ts'
import { siteOf } from '../../node/device/update-site.ts'
import type { Installs, Release } from '../../node/services/install/index.ts'
import { installsIn, NEVER } from './installs.ts'

export const ill = { seconds: 1, withinSeconds: 1, command: ['/bin/false'] }

export let root = ''
export let installs: Installs

export function eachInItsFolder(): void {
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'kith-programs-'))
  })
  afterEach(() => rmSync(root, { recursive: true, force: true }))
}

/** A device with these settings under `[update]`, as its owner would write them. */
export async function setUp(settings: Readonly<Record<string, readonly string[]>>): Promise<void> {
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}`)
  const configFile = join(root, 'config.toml')
  writeFileSync(configFile, ['[update]', ...lines, ''].join('\n'))
  const place = { env: {}, homeDir: root, hostName: 'pi', uid: 1000, configFile }
  const config = await loadConfig(place)
  installs = installsIn(join(root, 'installs'), { site: (name) => siteOf(config, name) })
}

export async function put(release: Release, file: string) {
  await installs.stage(release, file, NEVER)
  return installs.switch(release.name, NEVER)
}

export function done(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', cwd: root })
  assert.equal(status, 0, `${program} ${args[0]}: ${stderr}`)
  return stdout
}

export function script(name: string, text: string): string {
  writeFileSync(join(root, name), `#!/bin/sh\nset -eu\n${text}`)
  chmodSync(join(root, name), 0o755)
  return join(root, name)
}
