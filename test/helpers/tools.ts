/**
 * What a test needs besides Node.js. A test whose tool is missing is skipped by name, counted and
 * listed at the end of the run; with KITH_REQUIRE_ALL=1 it fails instead. This is the only place
 * that may skip a test.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import process from 'node:process'

/** A tool, and why a test that needs it cannot run; undefined where it can. */
const PROBES = {
  namespaces: () => withPrograms(['unshare', 'nsenter', 'ip', 'setpriv']) ?? withNamespaces(),
  chromium: () => withPrograms(['chromium']),
  strace: () => withPrograms(['strace']) ?? withTracing(),
  mosquitto: () => withPrograms(['mosquitto']),
  prometheus: () => withPrograms(['prometheus']),
  nats: () => withPrograms(['nats-server']),
  influxdb: () => withPrograms(['influxd']),
  terminal: () => withPrograms(['script', 'stty']),
  avahi: () => withPrograms(['avahi-daemon', 'avahi-browse', 'dbus-daemon']),
  dpkg: () => withPrograms(['dpkg', 'dpkg-deb']) ?? withRoot(),
  rauc: () => withPrograms(['rauc', 'mksquashfs', 'dbus-daemon', 'openssl']) ?? withLoops(),
  swupdate: () => withPrograms(['swupdate', 'openssl']) ?? withRoot(),
} as const satisfies Record<string, () => string | undefined>

export type Tool = keyof typeof PROBES

/** Debian keeps daemons and network tools where an ordinary user's PATH does not look. */
const SBIN = ['/usr/local/sbin', '/usr/sbin', '/sbin']

/** Where `name` is, or undefined. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), ...SBIN]
  return folders.map((folder) => path.join(folder, name)).find(isExecutable)
}

/**
 * Options for `it` and `describe`: `it('…', needs('namespaces'), …)`.
 *
 * @throws Error where a tool is missing and KITH_REQUIRE_ALL is 1
 */
export function needs(...tools: readonly Tool[]): { skip?: string } {
  const missing = tools.map((tool) => PROBES[tool]()).find((why) => why !== undefined)
  if (missing === undefined) return {}
  if (process.env['KITH_REQUIRE_ALL'] === '1') throw new Error(`KITH_REQUIRE_ALL: ${missing}`)
  return { skip: missing }
}

function withPrograms(names: readonly string[]): string | undefined {
  const missing = names.filter((name) => findProgram(name) === undefined)
  return missing.length > 0 ? `not installed: ${missing.join(', ')}` : undefined
}

function withRoot(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'needs root'
}

/** Containers may have no loop devices: ask for a free one. */
function withLoops(): string | undefined {
  const { status, stderr } = spawnSync('losetup', ['--find'], { encoding: 'utf8' })
  return withRoot() ?? (status === 0 ? undefined : `no loop devices here: ${stderr.trim()}`)
}

/** Containers may forbid tracing even where the program is there: try it. */
function withTracing(): string | undefined {
  const { status, stderr } = spawnSync('strace', ['-o', '/dev/null', 'true'], { encoding: 'utf8' })
  return status === 0 ? undefined : `no tracing here: ${stderr.trim()}`
}

/** Distributions may forbid user namespaces even where the programs are there: try one. */
function withNamespaces(): string | undefined {
  const script = 'mount -t tmpfs none /run && mkdir /run/netns && ip netns add probe'
  const { status, stderr } = spawnSync('unshare', ['-Urnm', 'sh', '-ec', script], {
    encoding: 'utf8',
    env: { ...process.env, PATH: [process.env['PATH'], ...SBIN].join(path.delimiter) },
  })
  return status === 0 ? undefined : `no network namespaces here: ${stderr.trim()}`
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
