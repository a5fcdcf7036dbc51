/**
 * THE schema of the settings: each key once, with type, unit, default, bounds and description.
 * Validation, `kith config`, the table in README.md and the dashboard's form are all made from it.
 * The program sees durations in milliseconds and sizes in bytes, whatever the person wrote.
 */
import { UPDATE_SETTINGS } from './config-update.ts'

interface Common {
  readonly description: string
  /** Whether a change needs a restart of the device. */
  readonly restart: boolean
}

export interface NumberSetting extends Common {
  /** `duration`: "10s", in ms. `size`: "1GiB", in bytes. `number`: may have decimals. */
  readonly type: 'integer' | 'number' | 'duration' | 'size'
  readonly unit: string
  readonly default: number
  readonly min: number
  readonly max: number
}

export interface BooleanSetting extends Common {
  readonly type: 'boolean'
  readonly default: boolean
}

export interface TextSetting extends Common {
  readonly type: 'text'
  readonly default: string
  readonly maxBytes: number
}

export interface ChoiceSetting extends Common {
  readonly type: 'choice'
  readonly default: string
  readonly choices: readonly string[]
}

export interface ListSetting extends Common {
  readonly type: 'list'
  readonly default: readonly string[]
  readonly maxItems: number
  readonly maxBytes: number
  /** What each entry is like, and how to say that; none where any text will do. */
  readonly entry?: { readonly pattern: RegExp; readonly form: string }
}

export type Setting = NumberSetting | BooleanSetting | TextSetting | ChoiceSetting | ListSetting

const MINUTE_MS = 60_000
const GIB = 2 ** 30

export const SETTINGS = {
  'device.name': {
    type: 'text',
    default: '',
    maxBytes: 64,
    restart: true,
    description: "The name this device proposes for itself; empty for the machine's host name.",
  },
  'mesh.port': {
    type: 'integer',
    unit: 'TCP port',
    default: 4646,
    min: 0,
    max: 65_535,
    restart: true,
    description: 'Where other devices reach this one; 0 for any free port.',
  },
  'mesh.interfaces': {
    type: 'list',
    default: [],
    maxItems: 32,
    maxBytes: 64,
    restart: true,
    description: 'Network interfaces to use; empty for all that carry IPv6.',
  },
  'mesh.multicast': {
    type: 'boolean',
    default: true,
    restart: true,
    description: 'Find neighbours by multicast DNS.',
  },
  'mesh.peers': {
    type: 'list',
    default: [],
    maxItems: 64,
    maxBytes: 256,
    restart: true,
    description: 'Addresses (multiaddrs) to dial directly where multicast does not pass.',
  },
  'api.dashboard': {
    type: 'boolean',
    default: true,
    restart: true,
    description: 'Serve the dashboard on [::1], to this machine alone.',
  },
  'api.port': {
    type: 'integer',
    unit: 'TCP port',
    default: 4680,
    min: 0,
    max: 65_535,
    restart: true,
    description: 'Port of the dashboard on [::1]; 0 for any free port.',
  },
  'telemetry.interval': {
    type: 'duration',
    unit: 'ms',
    default: 10_000,
    min: 1000,
    max: 60 * MINUTE_MS,
    restart: true,
    description: 'How often the sensors that are on are read.',
  },
  'telemetry.max_wait': {
    type: 'duration',
    unit: 'ms',
    default: 1000,
    min: 0,
    max: 10_000,
    restart: true,
    description: 'How long a reading waits for others, so that they share one signature.',
  },
  'telemetry.sensors': {
    type: 'list',
    default: [],
    maxItems: 64,
    maxBytes: 64,
    restart: true,
    description: 'Sensors that are on from the start, as names with `*`; empty for none.',
  },
  'telemetry.retention_days': {
    type: 'integer',
    unit: 'days',
    default: 30,
    min: 1,
    max: 3650,
    restart: true,
    description: 'How long readings and their proof are kept.',
  },
  'telemetry.retention_days_5m': {
    type: 'integer',
    unit: 'days',
    default: 365,
    min: 1,
    max: 36_500,
    restart: true,
    description: 'How long summaries of five minutes are kept.',
  },
  'telemetry.retention_days_1h': {
    type: 'integer',
    unit: 'days',
    default: 0,
    min: 0,
    max: 36_500,
    restart: true,
    description: 'How long summaries of an hour are kept; 0 for ever.',
  },
  'telemetry.max_bytes': {
    type: 'size',
    unit: 'bytes',
    default: GIB,
    min: 2 ** 20,
    max: 1024 * GIB,
    restart: true,
    description: 'How much room all of it may take; the oldest go first, summaries last.',
  },
  'power.mode': {
    type: 'choice',
    default: 'powered',
    choices: ['powered', 'sleepy'],
    restart: true,
    description: 'sleepy: off the network but for short windows, as on a battery.',
  },
  'power.period': {
    type: 'duration',
    unit: 'ms',
    default: 10 * MINUTE_MS,
    min: 10_000,
    max: 7 * 24 * 60 * MINUTE_MS,
    restart: true,
    description: 'How often a sleepy device opens a window.',
  },
  'power.window': {
    type: 'duration',
    unit: 'ms',
    default: 2000,
    min: 500,
    max: MINUTE_MS,
    restart: true,
    description: 'How long a window is at most; it ends when there is nothing more to do.',
  },
  'power.slack': {
    type: 'duration',
    unit: 'ms',
    default: 30_000,
    min: 1000,
    max: 60 * MINUTE_MS,
    restart: true,
    description: 'How late a sleepy device may be before others call it late.',
  },
  'power.battery_mah': {
    type: 'number',
    unit: 'mAh',
    default: 0,
    min: 0,
    max: 10_000_000,
    restart: true,
    description: 'Capacity of the battery, for the forecast of `kith power`; 0 for not told.',
  },
  'power.awake_ma': {
    type: 'number',
    unit: 'mA',
    default: 0,
    min: 0,
    max: 100_000,
    restart: true,
    description: 'Current that the whole device draws while it is awake; 0 for not told.',
  },
  'power.asleep_ma': {
    type: 'number',
    unit: 'mA',
    default: 0,
    min: 0,
    max: 100_000,
    restart: true,
    description: 'Current that the whole device draws while it sleeps; 0 for not told.',
  },
  'power.wake_file': {
    type: 'text',
    default: '',
    maxBytes: 512,
    restart: true,
    description: 'A file whose change opens a window at once; its first line is the reason.',
  },
  ...UPDATE_SETTINGS,
  'log.level': {
    type: 'choice',
    default: 'info',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
    restart: true,
    description: 'The least severe messages that are written to standard error.',
  },
  'log.format': {
    type: 'choice',
    default: 'auto',
    choices: ['auto', 'json', 'text'],
    restart: true,
    description: 'JSON lines or text; auto is text on a terminal and JSON lines elsewhere.',
  },
} as const satisfies Record<string, Setting>

export type SettingKey = keyof typeof SETTINGS
export const SETTING_KEYS = Object.keys(SETTINGS) as readonly SettingKey[]

type ValueOf<S extends Setting> = S extends NumberSetting
  ? number
  : S extends BooleanSetting
    ? boolean
    : S extends ChoiceSetting
      ? S['choices'][number]
      : S extends ListSetting
        ? readonly string[]
        : string

type SectionOf<K> = K extends `${infer Section}.${string}` ? Section : never

/** `values.mesh.port` for the key `mesh.port`, and so on for every key. */
export type ConfigValues = {
  readonly [S in SectionOf<SettingKey>]: {
    readonly [K in SettingKey as K extends `${S}.${infer Name}` ? Name : never]: ValueOf<
      (typeof SETTINGS)[K]
    >
  }
}
