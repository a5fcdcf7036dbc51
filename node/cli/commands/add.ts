/** `kith add`, on an owner's device: the code of a new device, by argument, file or prompt. */
import type { AddedDeviceView, Role } from '../../api/view.ts'
import { NodeError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { Cli } from '../context.ts'
import { askUntil } from '../prompt.ts'
import { readSecret } from '../save.ts'
import { termsFrom, type TermOptions } from '../terms.ts'

interface AddOptions extends TermOptions {
  readonly role: Role
  readonly name?: string
  readonly codeFile?: string
}

/** What the text of a pairing QR begins with. */
const QR_PREFIX = 'kith:'

export async function add(cli: Cli, code: string | undefined, options: AddOptions): Promise<void> {
  const { role, name, codeFile } = options
  const terms = termsFrom(options)
  const use = (text: string): Promise<AddedDeviceView> => {
    cli.note('Looking for the device that shows this code …')
    const secret = text.startsWith(QR_PREFIX) ? { qr: text } : { code: text }
    return cli.client.addDevice({ ...secret, role, name, ...terms }, cli.signal)
  }
  const given = await codeFrom(cli, code, codeFile)
  const added =
    given === undefined
      ? await askUntil(cli, 'The code that the new device shows', use)
      : await use(given)
  cli.result(added, () =>
    [
      `Added ${printable(added.name)} (${printable(added.fingerprint)}) as ${added.role}.`,
      'The new device shows the same name and fingerprint.',
    ].join('\n'),
  )
}

/** Undefined where a person is there to be asked. */
async function codeFrom(
  cli: Cli,
  code: string | undefined,
  codeFile: string | undefined,
): Promise<string | undefined> {
  if (code !== undefined && codeFile !== undefined) {
    throw new NodeError('NODE_USAGE', 'Give the code once: as argument or by --code-file.')
  }
  if (code !== undefined) return code.trim()
  if (codeFile !== undefined) return readSecret(codeFile)
  if (cli.terminal && !cli.options.json) return undefined
  throw new NodeError('NODE_USAGE', 'The code of the new device is missing.', {
    hint: 'Run there: kith pair   and here: kith add CODE, or --code-file FILE, - for standard input',
  })
}
