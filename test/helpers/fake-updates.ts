/** Answers about updates of a device that remembers what it was asked. */
import type { UpdatesState, UpdateView } from '../../node/api/view.ts'

export const UPDATES: UpdatesState = {
  channels: [
    {
      name: 'home',
      root: 'ab'.repeat(32),
      timestamp: 3,
      expiresAt: 1_800_000_000_000,
      blocked: null,
      signedHere: true,
      releases: [
        { name: 'app', version: '1.0.0', build: 1, id: '11'.repeat(32), conflict: false },
        { name: 'app', version: '2.0.0', build: 2, id: '22'.repeat(32), conflict: false },
      ],
    },
  ],
  rollout: {
    rings: [
      { devices: 1, minHealthyMs: 3_600_000 },
      { percent: 100, minHealthyMs: 0 },
    ],
    haltPercent: 20,
    window: '02:00-05:00',
    dnd: true,
    paused: [],
    pins: [],
    deferred: [],
    securityAtOnce: false,
    groups: [],
  },
  devices: [
    {
      device: '12D3KooWkitchen',
      deviceName: 'kitchen',
      self: true,
      channel: 'home',
      name: 'app',
      version: '2.0.0',
      build: 2,
      index: '22'.repeat(32),
      phase: 'fetching',
      at: 1_800_000_000_000,
      ring: 1,
      percent: 40,
      code: null,
      why: null,
      until: null,
      from: [{ device: '12D3KooWgarden', name: 'garden', bytes: 2_097_152 }],
      runs: { version: '1.0.0', build: 1 },
    },
    {
      device: '12D3KooWgarden',
      deviceName: 'garden',
      self: false,
      channel: 'home',
      name: 'app',
      version: '2.0.0',
      build: 2,
      index: '22'.repeat(32),
      phase: 'rolled-back',
      at: 1_800_000_000_000,
      ring: 0,
      percent: null,
      code: 'UPDATE_ILL',
      why: null,
      until: null,
      from: [],
      runs: null,
    },
  ],
  installed: [{ name: 'app', version: '1.0.0', build: 1, previous: null }],
  store: { bytes: 1024, maxBytes: 1_048_576 },
}

const [CHANNEL] = UPDATES.channels

export function updateAnswers(): UpdateView {
  const channel = async () => {
    if (CHANNEL === undefined) throw new Error('no channel')
    return CHANNEL
  }
  const transferred = async (name: string) => ({
    channel: name,
    releases: 2,
    chunks: 8,
    bytes: 4096,
    missing: 0,
  })
  return {
    updates: async () => UPDATES,
    trustChannel: channel,
    distrustChannel: async () => undefined,
    acceptSigned: channel,
    changeRollout: async () => UPDATES.rollout,
    forgiveUpdate: async () => undefined,
    rollbackUpdate: async (name) => ({ name, why: 'by hand' }),
    async *fetchRelease() {
      yield { doneBytes: 1, bytes: 2, peers: 1 }
    },
    exportChannel: transferred,
    importChannel: transferred,
  }
}
