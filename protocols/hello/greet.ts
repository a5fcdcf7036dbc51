import { equalBytes, type Channel } from '../wire/index.ts'
import { Hello, MAX_HEADS, type HelloMessage } from './messages.ts'
import { HelloError } from './protocol.ts'

/**
 * Exchange hellos; both sides run the same lines at once. `differs` says that the membership logs
 * are not the same, so the caller brings both up to date before anything else runs.
 *
 * @throws HelloError HELLO_WRONG_HOME; WireError; the channel's abort reason
 */
export async function greet(
  channel: Channel,
  ours: HelloMessage,
): Promise<{ readonly theirs: HelloMessage; readonly differs: boolean }> {
  const [theirs] = await Promise.all([channel.receive(Hello), channel.send(Hello, ours)])
  if (!equalBytes(theirs.home, ours.home)) throw new HelloError('HELLO_WRONG_HOME')
  return { theirs, differs: !sameHeads(ours.heads, theirs.heads) }
}

/**
 * A log is its heads: every op is in the causal past of one. Both lists come sorted or do not match.
 * A full list may leave heads out, and so proves nothing.
 */
function sameHeads(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  if (a.length === MAX_HEADS) return false
  return a.length === b.length && a.every((head, i) => equalBytes(head, b[i] ?? new Uint8Array()))
}
