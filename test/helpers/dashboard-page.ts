/** The dashboard of a made-up device, and a browser to look at it with. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { chromium, type Browser, type Page } from 'playwright-core'

import { createClient } from '../../node/api/client.ts'
import { startApi, type Api } from '../../node/api/server.ts'
import type { NodeView } from '../../node/api/view.ts'
import { dashboardFiles } from '../../node/dashboard/files.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { createLogger } from '../../node/log.ts'
import { fakeView, type FakeView } from './fake-view.ts'
import { findProgram } from './tools.ts'

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'].concat(
  ['--disable-background-networking', '--disable-component-update', '--disable-sync'],
  // A machine with a proxy for the world must not ask it for this page.
  ['--no-proxy-server'],
)

/** What is to be undone after a test, the last first. */
export type Cleanup = (() => Promise<unknown>)[]

export const STATUS = {
  version: '0.1.0',
  device: { id: '12D3KooWkitchen', name: 'kitchen', fingerprint: 'aaaa2222' },
  home: { id: 'bhome', name: 'Sunny house' },
  role: 'owner',
  addrs: [],
  peers: 1,
  startedAt: 1_800_000_000_000,
  uptimeMs: 1,
} as const

export interface Device {
  readonly view: FakeView
  readonly api: Api
  /** A fresh one-time link. */
  link(): Promise<string>
}

export async function startDevice(
  cleanup: Cleanup,
  over: Partial<NodeView> = {},
  port = 0,
): Promise<Device> {
  const folder = await mkdtemp(path.join(tmpdir(), 'kith-page-'))
  cleanup.push(() => rm(folder, { recursive: true, force: true }))
  const view = fakeView({ status: async () => STATUS, ...over })
  const log = createLogger({ level: 'error', format: 'json', out: { write: () => undefined } })
  const files = { staticFiles: await dashboardFiles(), version: '0.1.0', log, port }
  const socketPath = path.join(folder, 'run', 'kith.sock')
  const env = { clock: systemClock, random: systemRandom }
  const stop = new AbortController()
  const api = await startApi(view, { ...files, ...env, socketPath }, stop.signal)
  cleanup.push(async () => {
    stop.abort()
    await api[Symbol.asyncDispose]()
  })
  const link = async () => (await createClient(socketPath, stop.signal).dashboardLink()).url
  return { view, api, link }
}

export function startBrowser(): Promise<Browser> {
  const executablePath = findProgram('chromium') ?? ''
  return chromium.launch({ executablePath, args: FLAGS, headless: true })
}

export interface Opened {
  readonly page: Page
  /** All that the page or the browser complained about. */
  readonly complaints: string[]
  /** Origins that were asked for anything. */
  readonly asked: Set<string>
}

/** An empty page in a browser of its own. */
export async function openPage(browser: Browser, cleanup: Cleanup, width = 1000): Promise<Opened> {
  const context = await browser.newContext({ viewport: { width, height: 800 }, locale: 'en-GB' })
  cleanup.push(() => context.close())
  const page = await context.newPage()
  page.setDefaultTimeout(15_000)
  const complaints: string[] = []
  const asked = new Set<string>()
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('request', (request) => asked.add(new URL(request.url()).origin))
  return { page, complaints, asked }
}
