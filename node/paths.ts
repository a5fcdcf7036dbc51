/** Where this device's files are: the user's, the system's, or all under one folder. */
import { join, isAbsolute, resolve } from 'node:path'

export interface Paths {
  readonly configFile: string
  /** Holds the key and the database. */
  readonly dataDir: string
  readonly socket: string
  /** Can be deleted at any time. */
  readonly cacheDir: string
}

export interface PathInputs {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
  /** The process's user; 0 takes the system's paths. */
  readonly uid: number
  readonly dataDir?: string | undefined
  readonly configFile?: string | undefined
}

export const SYSTEM_PATHS: Paths = Object.freeze({
  configFile: '/etc/kith/config.toml',
  dataDir: '/var/lib/kith',
  socket: '/run/kith/kith.sock',
  cacheDir: '/var/cache/kith',
})

/** Explicit folder before KITH_SYSTEM or root before the user's XDG folders. */
export function resolvePaths(inputs: PathInputs): Paths {
  const paths = basePaths(inputs)
  return inputs.configFile === undefined
    ? paths
    : { ...paths, configFile: resolve(inputs.configFile) }
}

function basePaths({ env, homeDir, uid, dataDir }: PathInputs): Paths {
  if (dataDir !== undefined) {
    const dir = resolve(dataDir)
    return {
      configFile: join(dir, 'config.toml'),
      dataDir: dir,
      socket: join(dir, 'kith.sock'),
      cacheDir: join(dir, 'cache'),
    }
  }
  if (uid === 0 || env['KITH_SYSTEM'] === '1') return SYSTEM_PATHS
  // XDG Base Directory Specification 0.8: a relative path is invalid and ignored.
  const xdg = (name: string, fallback: string): string => {
    const value = env[name]
    return value !== undefined && isAbsolute(value) ? value : fallback
  }
  const state = join(xdg('XDG_STATE_HOME', join(homeDir, '.local', 'state')), 'kith')
  return {
    configFile: join(xdg('XDG_CONFIG_HOME', join(homeDir, '.config')), 'kith', 'config.toml'),
    dataDir: state,
    socket: join(xdg('XDG_RUNTIME_DIR', state), 'kith.sock'),
    cacheDir: join(xdg('XDG_CACHE_HOME', join(homeDir, '.cache')), 'kith'),
  }
}
