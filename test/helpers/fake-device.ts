/** A made-up device behind a real local API in a folder of its own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { createClient, type ApiClient } from '../../node/api/client.ts'
import { startApi, type Api } from '../../node/api/server.ts'
import type { NodeView } from '../../node/api/view.ts'
import { systemClock } from '../../node/env.ts'
import { createLogger } from '../../node/log.ts'
import { fakeView, type FakeView } from './fake-view.ts'
import { seededRandom } from './random.ts'

export interface FakeDevice extends AsyncDisposable {
  readonly dir: string
  readonly view: FakeView
  readonly socketPath: string
  readonly client: ApiClient
  readonly api: Api
}

/** `port` is that of the dashboard: 0 for any, none where it is not given. */
export async function startFakeDevice(
  over: Partial<NodeView> = {},
  { port }: { readonly port?: number } = {},
): Promise<FakeDevice> {
  const dir = await mkdtemp(join(tmpdir(), 'kith-fake-'))
  const view = fakeView(over)
  const log = createLogger({ level: 'silent', format: 'json', out: { write: () => true } })
  const socketPath = join(dir, 'kith.sock')
  const settings = { socketPath, port, version: '1.2.3', clock: systemClock, log }
  const random = seededRandom('device')
  const { signal } = new AbortController()
  const api = await startApi(view, { ...settings, random }, signal)
  return {
    dir,
    view,
    socketPath,
    api,
    client: createClient(socketPath, signal),
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
