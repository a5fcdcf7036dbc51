/**
 * What may be told of an error to others: the name of its kind and where in our own program it came
 * from. Messages, paths and everything else that a person or a device could have put there stay out.
 */
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

export interface Facts {
  /** A code of this program or of Node.js, or the name of a built-in kind of error. */
  readonly code?: string | undefined
  /** `node/main.ts:42`, innermost first. */
  readonly places: readonly string[]
}

const ROOT = new URL('..', import.meta.url)
const MAX_PLACES = 8
const MAX_LINES = 64

const OWN_CODE = /^(?:NODE|WIRE|IDENTITY|MEMBERS|PAIRING|HELLO|TELEMETRY|INCIDENTS)_[A-Z_]{1,40}$/
const NODE_CODE = /^ERR_[A-Z0-9_]{1,48}$/
const KINDS: ReadonlySet<string> = new Set([
  'AbortError',
  'AggregateError',
  'AssertionError',
  'DOMException',
  'Error',
  'EvalError',
  'RangeError',
  'ReferenceError',
  'SyntaxError',
  'TypeError',
  'URIError',
])
const FRAME = /^\s+at (?:.*\()?(?:async )?(\S+?):(\d{1,6}):\d+\)?$/
const INSIDE = /^(?:protocols|node|gateway)\/[a-z0-9/-]{1,64}\.[mc]?[jt]s$/

/** Never throws, whatever was thrown. `root` is the folder of the program. */
export function factsOf(thrown: unknown, root: URL = ROOT): Facts {
  try {
    if (!(thrown instanceof Error)) return { places: [] }
    const code = codeOf(thrown)
    const places = placesIn(thrown, root)
    return code === undefined ? { places } : { code, places }
  } catch {
    return { places: [] }
  }
}

function codeOf(error: Error): string | undefined {
  const { code } = error as { code?: unknown }
  if (typeof code === 'string') {
    const known = OWN_CODE.test(code) || NODE_CODE.test(code) || code in constants.errno
    if (known) return code
  }
  // Not the name: anyone can set it.
  const kind: unknown = Object.getPrototypeOf(error)?.constructor?.name
  return typeof kind === 'string' && KINDS.has(kind) ? kind : undefined
}

/** Lines of the stack below the message, each a file that the program really has. */
function placesIn({ stack, message }: Error, root: URL): string[] {
  if (typeof stack !== 'string') return []
  const at = message === '' ? 0 : stack.indexOf(message)
  const below = at < 0 ? '' : stack.slice(at + message.length)
  const base = fileURLToPath(root)
  return below
    .split('\n')
    .slice(0, MAX_LINES)
    .flatMap((line) => placeIn(line, base))
    .slice(0, MAX_PLACES)
}

function placeIn(line: string, base: string): string[] {
  const [, where = '', number = ''] = FRAME.exec(line) ?? []
  const file = where.startsWith('file://') ? fileURLToPath(where) : where
  if (!file.startsWith(base)) return []
  const inside = file.slice(base.length)
  return INSIDE.test(inside) && existsSync(file) ? [`${inside}:${number}`] : []
}
