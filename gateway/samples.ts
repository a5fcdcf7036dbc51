/**
 * What would leave, before anything does: the rules as though all that they ask for was signed, over
 * the readings that are known here or stand-ins for them, in the words of the sinks' own code.
 */
import type { GatewayDeviceFacts } from '../node/index.ts'
import type { GatewaySettings } from './config.ts'
import type { Directory } from './directory.ts'
import { policyOf } from './policy.ts'
import type { Refusal } from './policy-rights.ts'
import { sampleSink } from './sinks/index.ts'
import type { OutItem, Sample, Sampled } from './sinks/sink.ts'

export interface SinkPreview {
  readonly sink: string
  readonly type: string
  /** Devices and sensors of which something would leave; `*` for those that are not known yet. */
  readonly leaves: readonly { readonly device: string; readonly sensors: readonly string[] }[]
  readonly samples: readonly Sample[]
  /** True where no reading is known here yet and a made-up one stands for it. */
  readonly standIn: boolean
  /** Why there are no samples. */
  readonly why?: string
}

export interface Preview {
  readonly wanted: readonly string[]
  readonly signed: readonly string[]
  readonly refusals: readonly Refusal[]
  readonly sinks: readonly SinkPreview[]
}

export interface PreviewInputs {
  readonly settings: GatewaySettings
  readonly signed: readonly string[]
  readonly devices: readonly GatewayDeviceFacts[]
  readonly directory: Directory
  /** The last reading of each sensor that is known. */
  readonly known: readonly OutItem[]
  /** Of this gateway. */
  readonly gateway: Sampled['gateway']
}

const MAX_ITEMS = 20

export async function previewOf(inputs: PreviewInputs): Promise<Preview> {
  const { settings, signed, devices, directory, known, gateway } = inputs
  const { refusals } = policyOf(settings, signed, devices)
  const { wanted } = policyOf(settings, [], devices)
  const all = policyOf(settings, wanted, devices)
  const sinks: SinkPreview[] = []
  for (const sink of settings.sinks) {
    const { name, type } = sink
    const facts = directory.for(name, all, devices)
    const real = known.filter((item) => all.mayLeave(name, item)).slice(0, MAX_ITEMS)
    const items = real.length > 0 ? real : standIns(facts, settings, name)
    const leaves = facts.map((one) => ({
      device: one.name,
      sensors:
        one.fields.length > 0 ? one.fields.map(({ sensor }) => sensor) : patternsOf(settings, name),
    }))
    const about = { sink: name, type, leaves, standIn: real.length === 0 && items.length > 0 }
    try {
      const samples =
        items.length === 0 ? [] : await sampleSink(sink, { items, devices: facts, gateway })
      sinks.push({ ...about, samples: samples.map(shown) })
    } catch (error) {
      sinks.push({ ...about, samples: [], why: (error as Error).message })
    }
  }
  return { wanted, signed, refusals, sinks }
}

/** Bytes as people and JSON can have them. */
function shown({ body, ...rest }: Sample): Sample {
  return {
    ...rest,
    body: typeof body === 'string' ? body : `base64:${Buffer.from(body).toString('base64')}`,
  }
}

function patternsOf({ forward }: GatewaySettings, sink: string): readonly string[] {
  return [...new Set(forward.filter((one) => one.sink === sink).flatMap(({ sensors }) => sensors))]
}

/** A value of nothing, for a first look: its device and sensor are true, its value is not. */
function standIns(
  devices: ReturnType<Directory['for']>,
  settings: GatewaySettings,
  sink: string,
): readonly OutItem[] {
  return devices.slice(0, MAX_ITEMS).flatMap(({ id, name, fields }) => {
    const sensor =
      fields[0]?.sensor ??
      patternsOf(settings, sink)
        .find((one) => one !== '*')
        ?.replaceAll('*', 'x')
    return [
      {
        id: `${id}/0/0`,
        deviceId: id,
        device: name,
        sensor: sensor ?? 'temperature',
        value: 0,
        atMs: 0,
        ...(fields[0]?.unit === undefined ? {} : { unit: fields[0].unit }),
      },
    ]
  })
}
