/** `--allow`, `--call` and `--for`: what a grant says beside the role. */
import type { GrantTerms } from '../api/view.ts'
import { parseDuration } from '../config-values.ts'
import { NodeError } from '../errors.ts'

export interface TermOptions {
  readonly allow: readonly string[]
  readonly call: readonly string[]
  readonly for?: string
}

/** @throws NodeError NODE_USAGE */
export function termsFrom({ allow, call, for: long }: TermOptions): GrantTerms {
  const wrong = call.find((one) => !/^[^/]+\/[^/]/.test(one))
  if (wrong !== undefined) {
    throw new NodeError('NODE_USAGE', `--call ${wrong} names no device with what it does.`, {
      hint: 'Nothing was changed. Write it like lamp/toggle, or lamp/* for all that it does.',
    })
  }
  const rights = {
    ...(allow.length === 0 ? {} : { allow }),
    ...(call.length === 0 ? {} : { calls: call }),
  }
  if (long === undefined) return rights
  const forMs = parseDuration(long)
  if (forMs !== undefined && forMs >= 1000) return { ...rights, forMs }
  throw new NodeError('NODE_USAGE', `--for ${long} is no duration of a second or more.`, {
    hint: 'Nothing was changed. Write it like 2h or 3d.',
  })
}
