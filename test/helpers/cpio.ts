/** Archives as SWUpdate takes them: cpio, new form with a sum. */
export function cpioOf(
  parts: readonly { readonly name: string; readonly content: Buffer }[],
): Buffer {
  const all = [...parts, { name: 'TRAILER!!!', content: Buffer.alloc(0) }]
  return Buffer.concat(
    all.flatMap(({ name, content }, i) => {
      const sum = content.reduce((so, byte) => (so + byte) >>> 0, 0)
      const numbers = [
        i + 1,
        0o100644,
        0,
        0,
        1,
        0,
        content.length,
        0,
        0,
        0,
        0,
        name.length + 1,
        sum,
      ]
      const hex = numbers.map((one) => one.toString(16).padStart(8, '0')).join('')
      return [padded(Buffer.from(`070702${hex}${name}\0`)), padded(content)]
    }),
  )
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
}
