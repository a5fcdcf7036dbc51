/** Where members were last reached, kept across restarts: a device can dial before it has heard anyone. */
import { Key, type Datastore } from 'interface-datastore'

const PREFIX = '/kith/reached'
const MAX_ADDRESSES = 4
const MAX_TEXT_BYTES = 1024

export type Reached = ReadonlyMap<string, readonly string[]>

/** Peer id to multiaddrs, newest first. What cannot be read is left out. */
export async function loadReached(store: Datastore): Promise<Reached> {
  const reached = new Map<string, readonly string[]>()
  for await (const { key, value } of store.query({ prefix: PREFIX })) {
    const addresses = new TextDecoder().decode(value).split('\n').filter(isAddress)
    if (value.length <= MAX_TEXT_BYTES) reached.set(key.name(), addresses.slice(0, MAX_ADDRESSES))
  }
  return reached
}

export async function saveReached(
  store: Datastore,
  peer: string,
  addresses: readonly string[],
): Promise<void> {
  const text = addresses.slice(0, MAX_ADDRESSES).join('\n')
  await store.put(new Key(`${PREFIX}/${peer}`), new TextEncoder().encode(text))
}

function isAddress(text: string): boolean {
  return /^(\/ip6zone\/[^/]{1,15})?\/ip[46]\/[0-9a-f.:]{2,45}\/tcp\/[0-9]{1,5}$/.test(text)
}
