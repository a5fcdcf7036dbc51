/** A lamp that is awake and a thermostat that sleeps, for the fake view: what they tell and do. */
import type {
  CallOptions,
  CallsView,
  CallView,
  ChangeView,
  DescriptionView,
  Json,
  PowerReport,
  WhyView,
} from '../../node/api/view.ts'
import { NodeError } from '../../node/errors.ts'

export const AT = 1_800_000_000_000
export const LAMP = { id: '12D3KooWlamp', name: 'lamp' }
const BUTTON = { id: '12D3KooWbutton', name: 'hall-button' }
const GARDEN = { id: '12D3KooWgarden', name: 'garden' }
export const CALL_ID = 'c0ffee'.padEnd(64, '0')

export const CAUSE = {
  rule: 'press-light',
  device: BUTTON,
  sensor: 'button',
  seq: 812,
  at: AT,
  value: 1,
} as const

export const DESCRIPTION: DescriptionView = {
  device: LAMP,
  at: AT,
  live: true,
  description: {
    '@context': ['https://www.w3.org/2022/wot/td/v1.1'],
    title: 'lamp',
    properties: {
      on: { type: 'boolean', description: 'Whether it shines', observable: true },
      brightness: { type: 'integer', minimum: 0, maximum: 100, unit: '%' },
      label: { type: 'string', maxLength: 20 },
      temperature: { type: 'number', unit: 'Cel', readOnly: true, observable: true },
    },
    actions: {
      toggle: { description: 'On, or off' },
      fade: {
        input: {
          type: 'object',
          properties: { to: { type: 'integer', minimum: 0, maximum: 100 } },
          required: ['to'],
        },
      },
    },
    events: { overheated: { data: { type: 'number' }, description: 'Too hot to touch' } },
  },
  values: [
    { name: 'on', value: true, at: AT },
    { name: 'temperature', value: 41.5, at: AT },
  ],
}

export function callView(more: Partial<CallView> = {}): CallView {
  return {
    id: CALL_ID,
    device: LAMP,
    verb: 'invoke',
    name: 'toggle',
    state: 'executed',
    issuedAt: AT,
    expiresAt: AT + 30_000,
    holders: [],
    receipt: { status: 'done', at: AT, clock: 'synced' },
    ...more,
  }
}

/** The garden sleeps: what it is asked waits for it. */
export const HELD: CallView = {
  id: 'beef'.padEnd(64, '1'),
  device: GARDEN,
  verb: 'write',
  name: 'setpoint',
  args: 21.5,
  state: 'held',
  issuedAt: AT,
  expiresAt: AT + 3_600_000,
  deliversBy: AT + 600_000,
  holders: [LAMP, BUTTON],
}

export const WHY: readonly WhyView[] = [
  {
    id: CALL_ID,
    by: BUTTON,
    verb: 'write',
    name: 'on',
    args: true,
    status: 'done',
    at: AT,
    cause: CAUSE,
    verified: true,
  },
  {
    id: 'dead'.padEnd(64, '2'),
    by: { id: '12D3KooWkitchen', name: 'kitchen' },
    verb: 'invoke',
    name: 'fade',
    args: { to: 30 },
    status: 'failed',
    detail: 'the bulb did not answer',
    at: AT - 60_000,
    verified: true,
  },
]

export const POWER: PowerReport = {
  mode: 'sleepy',
  periodMs: 600_000,
  windowMs: 2000,
  batteryMah: 2400,
  awakeMa: 80,
  asleepMa: 0.05,
  mean: {
    wakes: 30,
    processMs: 420,
    connectedMs: 310,
    bytesIn: 1800,
    bytesOut: 3100,
    packetsIn: 14,
    packetsOut: 16,
    parts: { start: 60, connect: 120, log: 90, calls: 70, close: 80 },
  },
  forecast: {
    days: 942,
    meanMa: 0.106,
    costs: [
      { what: 'asleep', share: 0.47 },
      { what: 'connect', share: 0.22 },
    ],
    missing: [],
  },
  wakes: [],
}

const VALUES: Readonly<Record<string, Json>> = { on: true, temperature: 41.5 }

function known<T>(name: string, value: T | undefined): T {
  if (value !== undefined) return value
  throw new NodeError('NODE_NOT_FOUND', `lamp has no property "${name}".`, {
    hint: 'Did you mean: on?',
  })
}

/** What is asked of the garden waits until it wakes. */
function answer(ref: string, call: Partial<CallView>, { ttlMs = 30_000 }: CallOptions): CallView {
  const made = { ...call, expiresAt: AT + ttlMs }
  if (!ref.includes('garden')) return callView(made)
  const { receipt: _receipt, ...asked } = made
  return { ...HELD, ...asked }
}

export const CHANGES: readonly ChangeView[] = [true, false].map((value, index) => ({
  name: 'on',
  value,
  at: AT + index,
}))

export function callAnswers(
  endless: <T>(rows: readonly T[], signal: AbortSignal) => AsyncGenerator<T>,
): CallsView {
  return {
    description: async (_ref, { values }) => {
      const { values: told, ...rest } = DESCRIPTION
      return values === true && told !== undefined ? { ...rest, values: told } : rest
    },
    readProperty: async (ref, name, options) => {
      const receipt = { status: 'done', result: known(name, VALUES[name]), at: AT } as const
      return answer(ref, { verb: 'read', name, receipt: { ...receipt, clock: 'synced' } }, options)
    },
    writeProperty: async ({ ref, name }, args, options) =>
      answer(ref, { verb: 'write', name, args }, options),
    invokeAction: async ({ ref, name }, args, options) =>
      answer(ref, { verb: 'invoke', name, ...(args === undefined ? {} : { args }) }, options),
    observe: (_ref, _name, signal) => endless(CHANGES, signal),
    calls: async () => [HELD, callView()],
    callById: async () => HELD,
    cancelCall: async () => ({ ...HELD, state: 'cancelled' }),
    why: async () => WHY,
  }
}
