/** `kith describe`: what a device lets this one read, write, do and observe. */
import type { DescriptionView, JsonObject } from '../../api/view.ts'
import { printable } from '../../printable.ts'
import type { Cli } from '../context.ts'
import { ago, table } from '../print.ts'
import { affordances, objectOf, takesText, textOf, valueOf } from '../schemas.ts'

export async function describe(cli: Cli, ref: string): Promise<void> {
  const found = await cli.client.description(ref, { values: true }, cli.signal)
  cli.result(found, () => text(found))
  if (!found.live) {
    const when = ago(found.at, cli.clock.now())
    cli.note(`${printable(found.device.name)} is not connected; it told this ${when}.`)
  }
}

function text({ device, description, values = [] }: DescriptionView): string {
  const told = new Map(values.map(({ name, value }) => [name, value]))
  const properties = affordances(description, 'properties').map(([name, schema]) => {
    const value = told.get(name)
    return [
      name,
      value === undefined ? '-' : valueOf(value, schema),
      accessText(schema),
      takesText(schema),
      textOf(schema['description']),
    ]
  })
  const actions = affordances(description, 'actions').map(([name, action]) => [
    name,
    action['input'] === undefined ? 'nothing' : takesText(objectOf(action['input'])),
    textOf(action['description']),
  ])
  const events = affordances(description, 'events').map(([name, event]) => [
    name,
    event['data'] === undefined ? 'nothing' : takesText(objectOf(event['data'])),
    textOf(event['description']),
  ])
  const parts = [
    [headOf(device.name, description)],
    section(['PROPERTY', 'VALUE', 'MAY', 'TAKES', 'WHAT'], properties),
    section(['ACTION', 'TAKES', 'WHAT'], actions),
    section(['EVENT', 'BRINGS', 'WHAT'], events),
  ]
  const shown = parts.filter((part) => part.length > 0)
  if (shown.length === 1) shown.push(['It lets this device do nothing.'])
  return shown.map((part) => part.join('\n')).join('\n\n')
}

function headOf(name: string, description: JsonObject): string {
  const what = textOf(description['description'])
  return printable(what === '' ? name : `${name}: ${what}`)
}

function accessText({ readOnly, writeOnly }: JsonObject): string {
  if (readOnly === true) return 'get'
  return writeOnly === true ? 'set' : 'get set'
}

function section(headers: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return rows.length === 0 ? [] : [table(headers, rows)]
}
