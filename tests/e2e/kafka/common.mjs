// What the kafkajs scripts share: records that can be checked, every codec, and a verdict.
//
// kafkajs has gzip built in; the other codecs are plugged in here: snappy in the framing that
// Java's library writes, lz4 and zstd as plain frames.

import crypto from 'node:crypto'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const kafkajs = require('kafkajs')
const snappyjs = require('snappyjs')
const lz4js = require('lz4js')
const zstd = require('@bokuweb/zstd-wasm')

export const { Kafka, CompressionTypes, logLevel, ConfigResourceTypes, AssignerProtocol } = kafkajs

const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])

const snappy = {
  async compress(encoder) {
    const block = Buffer.from(snappyjs.compress(encoder.buffer))
    const head = Buffer.alloc(20)
    XERIAL.copy(head)
    head.writeInt32BE(1, 8)
    head.writeInt32BE(1, 12)
    head.writeInt32BE(block.length, 16)
    return Buffer.concat([head, block])
  },
  async decompress(buffer) {
    if (!buffer.subarray(0, 8).equals(XERIAL)) return Buffer.from(snappyjs.uncompress(buffer))
    const blocks = []
    for (let at = 16; at < buffer.length; ) {
      const length = buffer.readInt32BE(at)
      blocks.push(Buffer.from(snappyjs.uncompress(buffer.subarray(at + 4, at + 4 + length))))
      at += 4 + length
    }
    return Buffer.concat(blocks)
  },
}

const lz4 = {
  compress: async (encoder) => Buffer.from(lz4js.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4js.decompress(buffer)),
}

// Once: its memory is one for all callers.
await zstd.init()

const zstandard = {
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
}

kafkajs.CompressionCodecs[CompressionTypes.Snappy] = () => snappy
kafkajs.CompressionCodecs[CompressionTypes.LZ4] = () => lz4
kafkajs.CompressionCodecs[CompressionTypes.ZSTD] = () => zstandard

/** The one right value of a record: its name, then filler that follows from it. */
export function value(topic, partition, number) {
  const name = `${topic}/${partition}/${number}`
  return `${name}:${crypto.createHash('sha256').update(name).digest('hex')}`
}

/** The number of a record, after proving that nothing in it changed. */
export function numberOf(topic, partition, data) {
  const text = data.toString()
  const number = Number(text.split(':')[0].split('/').pop())
  expect(text === value(topic, partition, number), `record ${text.slice(0, 60)} changed`)
  return number
}

export function expect(holds, what) {
  if (!holds) throw new Error(what)
}

/** A topic or group name that no earlier run used. */
export const unique = (name) => `${name}-${process.hrtime.bigint().toString(16)}`

export const pause = (ms) => new Promise((done) => setTimeout(done, ms))

export async function waitFor(holds, what, seconds = 30) {
  const deadline = Date.now() + seconds * 1000
  while (!(await holds())) {
    expect(Date.now() < deadline, `waited ${seconds} s for ${what}`)
    await pause(50)
  }
}

export function client(name) {
  const broker = process.argv[2]
  if (!broker) {
    console.error(`usage: ${process.argv[1]} HOST:PORT`)
    process.exit(2)
  }
  return new Kafka({ clientId: name, brokers: [broker], logLevel: logLevel.NOTHING, retry: { retries: 5 } })
}

/** Runs the checks in order; prints one line each and a verdict; the exit code says it too. */
export async function run(checks) {
  let failed = 0
  for (const check of checks) {
    const begun = performance.now()
    try {
      const said = await check()
      const took = ((performance.now() - begun) / 1000).toFixed(1)
      console.log(`ok    ${check.name} (${took}s) ${said ?? ''}`)
    } catch (error) {
      failed += 1
      console.log(`FAIL  ${check.name}: ${error.stack}`)
    }
  }
  console.log(`VERDICT ${failed === 0 ? 'PASS' : `FAIL (${failed} of ${checks.length})`}`)
  process.exit(failed ? 1 : 0)
}
