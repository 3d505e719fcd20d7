// kafkajs that stays connected while the server is killed and comes back on the same port.
//
// Usage: node stays.mjs HOST:PORT    (says "reading"; then kill and start the server, and write "back" to it)
//
// One producer and one group member run all the time. In the end every acknowledged record was read, and
// none below a committed offset came twice.

import { once } from 'node:events'
import { client, expect, numberOf, pause, run, unique, value, waitFor } from './common.mjs'

const kafka = client('stays')
const [BEFORE, AFTER] = [500, 500]

const checks = [
  async function aMemberAndAProducerOutliveAKill() {
    const topic = unique('js-stays')
    const admin = kafka.admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] })
    await admin.disconnect()

    const consumer = kafka.consumer({
      groupId: unique('js-stays'), maxWaitTimeInMs: 100, sessionTimeout: 10_000, heartbeatInterval: 300,
    })
    const seen = new Map()
    let [committed, failure] = [0, undefined]
    consumer.on(consumer.events.COMMIT_OFFSETS, ({ payload }) => {
      for (const { offset } of payload.topics.flatMap(({ partitions }) => partitions)) committed = Number(offset)
    })
    let crashes = 0
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      crashes += 1
      if (!payload.restart) failure = payload.error
    })
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({
      autoCommitInterval: 100,
      eachMessage: async ({ partition, message }) => {
        const offset = Number(message.offset)
        if (offset < committed) failure = new Error(`${offset} was committed and came again`)
        seen.set(numberOf(topic, partition, message.value), offset)
      },
    })

    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    let [sent, refused] = [0, 0]
    // What is refused is sent again: the numbers that were acknowledged are all below `sent`.
    const send = async (count) => {
      const messages = Array.from({ length: count }, (_, i) => ({ partition: 0, value: value(topic, 0, sent + i) }))
      try {
        await producer.send({ topic, messages, acks: -1 })
        sent += count
      } catch (error) {
        refused += 1
        expect(refused < 20, `refused again and again: ${error.message}`)
      }
    }
    while (sent < BEFORE) await send(50)
    await waitFor(() => committed >= BEFORE / 2, 'the first commits')
    let back = false
    once(process.stdin, 'data').then(() => (back = true))
    console.log('reading')
    while (!back) {
      await send(1)
      await pause(2)
    }
    const [atReturn, begun] = [sent, performance.now()]
    while (sent < atReturn + AFTER) await send(50)
    const all = () => {
      if (failure) throw failure
      return seen.size >= sent && Array.from({ length: sent }, (_, i) => i).every((i) => seen.has(i))
    }
    await waitFor(all, 'all acknowledged records', 60)
    const took = ((performance.now() - begun) / 1000).toFixed(1)
    const end = Math.max(...seen.values()) + 1
    await waitFor(() => committed === end, 'the last commit')
    await consumer.disconnect()
    await producer.disconnect()
    return `${atReturn} + ${AFTER} records; all read ${took} s after the return; ${crashes} restarts, ${refused} refused`
  },
]

await run(checks)
