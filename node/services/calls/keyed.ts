/** Bytes as keys of a Map, at the cost of a copy: one character per byte. */
export function keyed(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}
