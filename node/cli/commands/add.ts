/** `kith add`, on an owner's device: the code of a new device, by prompt, file or standard input. */
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

export async function add(
  cli: Cli,
  source: string | undefined,
  options: AddOptions,
): Promise<void> {
  const { role, name, codeFile } = options
  const terms = termsFrom(options)
  const use = (text: string): Promise<AddedDeviceView> => {
    cli.note('Looking for the device that shows this code …')
    const secret = text.startsWith(QR_PREFIX) ? { qr: text } : { code: text }
    return cli.client.addDevice({ ...secret, role, name, ...terms }, cli.signal)
  }
  const given = await codeFrom(cli, source, codeFile)
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
  source: string | undefined,
  codeFile: string | undefined,
): Promise<string | undefined> {
  if (source !== undefined && source !== '-') {
    throw new NodeError(
      'NODE_USAGE',
      'A code is not taken as an argument: others can see it there.',
      {
        hint: 'Nothing was sent. Run "kith add" and type the code when it asks, or use --code-file FILE, or - for standard input.',
      },
    )
  }
  if (source !== undefined && codeFile !== undefined) {
    throw new NodeError('NODE_USAGE', 'Give the code once: by - or by --code-file.')
  }
  const file = source ?? codeFile
  if (file !== undefined) return readSecret(file)
  if (cli.terminal && !cli.options.json) return undefined
  throw new NodeError('NODE_USAGE', 'The code of the new device is missing.', {
    hint: 'Run there: kith pair   and here: kith add, at a terminal, or with --code-file FILE, or - for standard input',
  })
}
