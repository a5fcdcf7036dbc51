/** The settings for readers: a table for README.md and a list for programs, both from the schema. */
import { environmentName } from './config.ts'
import { SETTING_KEYS, SETTINGS, type Setting, type SettingKey } from './config-schema.ts'
import { formatDuration, formatSize, formatValue } from './config-values.ts'

export interface SettingView {
  readonly key: SettingKey
  readonly env: string
  readonly type: Setting['type']
  readonly default: string
  readonly allowed: string
  readonly restart: boolean
  readonly description: string
}

export function settingViews(): readonly SettingView[] {
  return SETTING_KEYS.map((key) => {
    const setting: Setting = SETTINGS[key]
    const { type, restart, description } = setting
    const shown = formatValue(key, setting.default)
    return {
      key,
      env: environmentName(key),
      type,
      default: shown,
      allowed: allowed(setting),
      restart,
      description,
    }
  })
}

/** Markdown, one row for each setting. */
export function settingsTable(): string {
  const rows = settingViews().map(
    (view) =>
      `| \`${view.key}\` | ${view.type} | ${view.default === '' ? '' : `\`${view.default}\``} | ${view.allowed} | ${view.description} |`,
  )
  return [
    '| key | type | default | allowed | meaning |',
    '|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}

function allowed(setting: Setting): string {
  switch (setting.type) {
    case 'integer':
    case 'number':
      return `${setting.min} to ${setting.max} (${setting.unit})`
    case 'duration':
      return `${formatDuration(setting.min)} to ${formatDuration(setting.max)}`
    case 'size':
      return `${formatSize(setting.min)} to ${formatSize(setting.max)}`
    case 'boolean':
      return 'true, false'
    case 'text':
      return `at most ${setting.maxBytes} bytes`
    case 'choice':
      return setting.choices.join(', ')
    case 'list':
      return setting.entry === undefined
        ? `at most ${setting.maxItems} texts`
        : `at most ${setting.maxItems} texts; each ${setting.entry.form}`
  }
}
