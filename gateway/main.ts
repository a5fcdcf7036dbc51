/** Runs a gateway in this process: its device, and the bridge beside it. */
import type { Config } from '../node/index.ts'

/** Run until `signal` aborts. @throws NodeError where it cannot start */
export async function runGateway(config: Config, signal: AbortSignal): Promise<void> {
  void config
  signal.throwIfAborted()
}
