/**
 * As much of a Kafka broker as a producer meets: ApiVersions 0, Metadata 5 and Produce 7, with record
 * batches of version 2 read whole. One topic with one partition, or none.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'

export interface KafkaRecord {
  readonly key: string
  readonly value: string
  readonly atMs: number
  readonly headers: Readonly<Record<string, string>>
}

export interface KafkaBroker extends AsyncDisposable {
  readonly port: number
  readonly records: KafkaRecord[]
  received(): number
}

const API = { produce: 0, metadata: 3, versions: 18 } as const

/** `refuse`: the error code for a batch, 0 for none. */
export async function startKafka(
  topic: string,
  refuse: (records: readonly KafkaRecord[]) => number = () => 0,
): Promise<KafkaBroker> {
  const records: KafkaRecord[] = []
  const sockets = new Set<Socket>()
  let port = 0
  function answer(request: Reader): Buffer {
    const api = request.int(2)
    request.int(2)
    const correlation = request.int(4)
    request.text()
    const body = (): Buffer => {
      if (api === API.versions) return versions()
      if (api === API.metadata) return metadata(topic, port)
      assert.equal(api, API.produce)
      const batch = produced(request)
      const code = refuse(batch)
      if (code === 0) records.push(...batch)
      return Buffer.concat([
        int(1),
        text(topic),
        int(1),
        int(0),
        int(code, 2),
        long(0),
        long(-1),
        long(0),
        int(0),
      ])
    }
    const whole = Buffer.concat([int(correlation), body()])
    return Buffer.concat([int(whole.length), whole])
  }
  const server = createServer((socket) => {
    sockets.add(socket)
    let waiting = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => {
      waiting = Buffer.concat([waiting, bytes])
      while (waiting.length >= 4 && waiting.length >= 4 + waiting.readInt32BE()) {
        const end = 4 + waiting.readInt32BE()
        socket.write(answer(new Reader(waiting.subarray(4, end))))
        waiting = waiting.subarray(end)
      }
    })
  }).listen(0, '::1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
  return {
    port,
    records,
    received: () => [...sockets].reduce((sum, { bytesRead }) => sum + bytesRead, 0),
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

function versions(): Buffer {
  const all = [
    [API.produce, 7],
    [API.metadata, 5],
    [API.versions, 0],
  ] as const
  const rows = all.map(([api, most]) => Buffer.concat([int(api, 2), int(0, 2), int(most, 2)]))
  return Buffer.concat([int(0, 2), int(rows.length), ...rows])
}

function metadata(topic: string, port: number): Buffer {
  const brokers = [int(1), int(1), text('::1'), int(port), int(-1, 2)]
  const partition = [int(0, 2), int(0), int(1), int(1), int(1), int(1), int(1), int(0)]
  const topics = [int(1), int(0, 2), text(topic), int(0, 1), int(1), ...partition]
  return Buffer.concat([int(0), ...brokers, text('home'), int(1), ...topics])
}

function produced(request: Reader): KafkaRecord[] {
  request.text()
  assert.equal(request.int(2), -1, 'all replicas')
  request.int(4)
  assert.equal(request.int(4), 1)
  request.text()
  assert.equal(request.int(4), 1)
  assert.equal(request.int(4), 0)
  const batch = new Reader(request.bytes(request.int(4)))
  batch.bytes(8 + 4 + 4)
  assert.equal(batch.int(1), 2, 'batches of version 2')
  batch.bytes(4 + 2 + 4)
  const first = Number(batch.long())
  batch.bytes(8 + 8 + 2 + 4)
  return Array.from({ length: batch.int(4) }, () => {
    batch.varint()
    batch.int(1)
    const atMs = first + batch.varint()
    batch.varint()
    const key = batch.varText()
    const value = batch.varText()
    const headers = Array.from({ length: batch.varint() }, () => [batch.varText(), batch.varText()])
    return { key, value, atMs, headers: Object.fromEntries(headers) as Record<string, string> }
  })
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  bytes(length: number): Buffer {
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  int(size: number): number {
    return this.bytes(size).readIntBE(0, size)
  }

  long(): bigint {
    return this.bytes(8).readBigInt64BE()
  }

  /** Absent text is empty. */
  text(): string {
    return this.bytes(Math.max(0, this.int(2))).toString()
  }

  /** Zigzag, of up to 64 bits. */
  varint(): number {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.bytes(1).readUInt8()
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return Number((value >> 1n) ^ -(value & 1n))
    }
  }

  varText(): string {
    return this.bytes(Math.max(0, this.varint())).toString()
  }
}

function int(value: number, size = 4): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeIntBE(value, 0, size)
  return bytes
}

function long(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

function text(value: string): Buffer {
  return Buffer.concat([int(value.length, 2), Buffer.from(value)])
}
