/** `kith config`: works on the settings file, whether the device runs or not. */
import { tablesMarkdown, tableViews } from '../../config-docs-tables.ts'
import { settingsTable, settingViews } from '../../config-docs.ts'
import { isSettingKey, readConfigText, setInText, unknownKey } from '../../config-file.ts'
import { checkTextValue, formatValue } from '../../config-values.ts'
import { configRows, fileError, loadConfig, readConfigFile } from '../../config.ts'
import { NodeError } from '../../errors.ts'
import { resolvePaths } from '../../paths.ts'
import { printable } from '../../printable.ts'
import type { Cli } from '../context.ts'
import { table } from '../print.ts'
import { saveText } from '../save.ts'

export async function show(cli: Cli): Promise<void> {
  const rows = configRows(await loadConfig(cli.configInputs))
  cli.result(rows, () =>
    table(
      ['SETTING', 'VALUE', 'FROM'],
      rows.map(({ key, value, source }) => [key, formatValue(key, value), source]),
    ),
  )
}

export async function set(cli: Cli, key: string, text: string): Promise<void> {
  if (!isSettingKey(key)) throw new NodeError('NODE_CONFIG', `${key}: ${unknownKey(key)}`)
  const checked = checkTextValue(key, text)
  if (!checked.ok) throw new NodeError('NODE_CONFIG', `${key}: ${checked.why}`)
  const { configFile } = resolvePaths(cli.configInputs)
  const before = await readConfigFile(configFile, false)
  const { problems } = readConfigText(before)
  if (problems.length > 0) throw fileError(configFile, problems)
  await saveText(configFile, setInText(before, key, checked.value))
  const shown = formatValue(key, checked.value)
  cli.result(
    { key, value: checked.value, file: configFile },
    () => `${key} is ${printable(shown)} now, in ${configFile}.`,
  )
  cli.note('It holds from the next start of Kith.')
}

export async function validate(cli: Cli, file: string | undefined): Promise<void> {
  const path = file ?? resolvePaths(cli.configInputs).configFile
  const text = await readConfigFile(
    path,
    file !== undefined || cli.options.configFile !== undefined,
  )
  const { problems } = readConfigText(text)
  if (problems.length > 0) throw fileError(path, problems)
  if (file === undefined) await loadConfig(cli.configInputs)
  cli.result({ ok: true, file: path }, () => `${path} is in order.`)
}

export function schema(cli: Cli, { markdown }: { readonly markdown?: boolean }): void {
  const settings = settingViews()
  const tables = tableViews()
  cli.result({ settings, tables }, () =>
    markdown === true
      ? `${settingsTable()}\n${tablesMarkdown()}`.trimEnd()
      : [
          table(
            ['SETTING', 'TYPE', 'DEFAULT', 'ALLOWED', 'MEANING'],
            settings.map((row) => [row.key, row.type, row.default, row.allowed, row.description]),
          ),
          table(
            ['TABLE', 'KEY', 'OF', 'DEFAULT', 'MEANING'],
            tables.map((row) => [
              `[${row.table}.NAME]`,
              row.key,
              row.types.join(', '),
              row.default === '' && row.required ? 'needed' : row.default,
              row.meaning,
            ]),
          ),
        ].join('\n\n'),
  )
}
