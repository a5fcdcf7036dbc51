/** The keys of `[sink.NAME]` in gateway.toml, one schema for each type. It checks; it opens nothing. */
import * as v from 'valibot'

import { fields } from '../node/index.ts'

const { bool, duration, isUrl, path, text, timeout, topic, url, whole } = fields

const DAY_MS = 86_400_000

/** What every sink has. */
const common = {
  /** The longest time that what waits for this sink is kept. */
  max_age: v.optional(duration(60_000, 365 * DAY_MS), '7d'),
}

/** Broker, its certificate and ours. Secrets are in files. */
const mqtt = {
  ...common,
  ...fields.broker,
  cert_file: v.optional(path),
  key_file: v.optional(path),
  /** Above all topics of this gateway. */
  prefix: v.optional(topic, 'kith'),
  qos: v.optional(v.picklist([0, 1], 'must be 0 or 1'), 1),
  retain: v.optional(bool, true),
}

const http = {
  ...common,
  url,
  timeout,
  ca_file: v.optional(path),
  cert_file: v.optional(path),
  key_file: v.optional(path),
  token_file: v.optional(path),
  user: v.optional(text(128)),
  password_file: v.optional(path),
}

const hosts = (protocols: readonly string[], like: string) =>
  v.pipe(
    v.array(
      v.pipe(
        text(),
        v.check((one) => isUrl(one, protocols), `must be addresses, like "${like}"`),
      ),
      `must be a list, like ["${like}"]`,
    ),
    v.minLength(1, 'must not be empty'),
    v.maxLength(16, 'must have at most 16 entries'),
  )

const secured = {
  ca_file: v.optional(path),
  cert_file: v.optional(path),
  key_file: v.optional(path),
  user: v.optional(text(128)),
  password_file: v.optional(path),
}

/** Each type's keys besides `type` itself. */
export const SINK_SCHEMAS = {
  mqtt: v.object({ type: v.literal('mqtt'), ...mqtt }),
  'home-assistant': v.object({
    type: v.literal('home-assistant'),
    ...mqtt,
    /** Where Home Assistant looks for devices. */
    discovery: v.optional(topic, 'homeassistant'),
  }),
  prometheus: v.object({
    type: v.literal('prometheus'),
    ...common,
    /** Whoever can reach it can read it. */
    address: v.optional(text(64), '::1'),
    port: v.optional(whole(0, 65_535), 9464),
  }),
  'remote-write': v.object({ type: v.literal('remote-write'), ...http }),
  otlp: v.object({ type: v.literal('otlp'), ...http }),
  webhook: v.object({
    type: v.literal('webhook'),
    ...http,
    /** Key of the signature over each event. */
    secret_file: v.optional(path),
  }),
  influx: v.object({
    type: v.literal('influx'),
    ...http,
    version: v.optional(v.picklist([1, 2], 'must be 1 or 2'), 2),
    org: v.optional(text(128)),
    bucket: v.optional(text(128)),
    database: v.optional(text(128)),
  }),
  nats: v.object({
    type: v.literal('nats'),
    ...common,
    ...secured,
    servers: hosts(['nats:', 'tls:'], 'nats://stream.local:4222'),
    token_file: v.optional(path),
    prefix: v.optional(text(128), 'kith'),
  }),
  kafka: v.object({
    type: v.literal('kafka'),
    ...common,
    ...secured,
    brokers: v.pipe(
      v.array(text(), 'must be a list, like ["stream.local:9092"]'),
      v.minLength(1, 'must not be empty'),
      v.maxLength(16, 'must have at most 16 entries'),
    ),
    tls: v.optional(bool, false),
    topic: v.optional(text(128), 'kith'),
  }),
} as const

export type SinkType = keyof typeof SINK_SCHEMAS
export type SettingsOf<T extends SinkType> = v.InferOutput<(typeof SINK_SCHEMAS)[T]> & {
  readonly name: string
}
export type SinkSettings = { [T in SinkType]: SettingsOf<T> }[SinkType]
