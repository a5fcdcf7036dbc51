/**
 * Settings of the device: flag before environment before file before default, each value checked
 * against config-schema.ts. This file joins the sources; it does not start or change anything.
 */
import type { ConfigValues, SettingKey } from './config-schema.ts'
import type { Paths } from './paths.ts'

export type { ConfigValues, SettingKey } from './config-schema.ts'
export type { Paths } from './paths.ts'

export type ConfigSource = 'flag' | 'environment' | 'file' | 'default'

/** `config.mesh.port`, `config.telemetry.interval` (ms), `config.paths.dataDir` … */
export interface Config extends ConfigValues {
  readonly paths: Paths
  readonly sources: Readonly<Record<SettingKey, ConfigSource>>
}
