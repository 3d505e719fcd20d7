// kafkajs: transactions over several partitions, their offsets, fencing, and who sees what.
//
// Usage: node transactions.mjs HOST:PORT

import { client, expect, pause, run, unique, waitFor } from './common.mjs'

const kafka = client('transactions')
const admin = kafka.admin()
const PARTITIONS = 2

async function create(name) {
  const topic = unique(name)
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS, replicationFactor: 1 }] })
  return topic
}

async function transactional(transactionalId) {
  const producer = kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  return producer
}

const messages = (values) => values.map((value, i) => ({ value, partition: i % PARTITIONS }))

/** Values a reader sees until `last` of them is there and a while longer. */
async function read(topic, last, readUncommitted = false) {
  const consumer = kafka.consumer({ groupId: unique('reader'), maxWaitTimeInMs: 100, readUncommitted })
  const values = []
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => void values.push(`${message.value}`) })
  try {
    await waitFor(() => last.every((value) => values.includes(value)), `${last} of ${topic}`)
    await pause(300)
  } finally {
    await consumer.disconnect()
  }
  return values.sort()
}

const same = (found, expected) =>
  expect(JSON.stringify(found) === JSON.stringify([...expected].sort()), `${found} is not ${expected}`)

async function commitsShowAndAbortsDoNot() {
  const topic = await create('js-commit-abort')
  const producer = await transactional(unique('js-commit-abort'))
  const committed = []
  const all = []
  for (let turn = 0; turn < 12; turn += 1) {
    const commits = turn % 3 !== 1
    const values = [0, 1, 2].map((i) => `${commits ? 'commit' : 'abort'}-${turn}-${i}`)
    const transaction = await producer.transaction()
    await transaction.send({ topic, messages: messages(values) })
    if (commits) {
      await transaction.commit()
      committed.push(...values)
    } else {
      await transaction.abort()
    }
    all.push(...values)
  }
  same(await read(topic, committed.slice(-3)), committed)
  same(await read(topic, all.slice(-3), true), all)
  await producer.disconnect()
  return `${committed.length} of ${all.length} records count`
}

async function aNewerProducerFencesTheOlder() {
  const topic = await create('js-fence')
  const id = unique('js-fence')
  const old = await transactional(id)
  const left = await old.transaction()
  await left.send({ topic, messages: messages(['zombie-0', 'zombie-1']) })
  const newer = await transactional(id)
  const transaction = await newer.transaction()
  await transaction.send({ topic, messages: messages(['new-0', 'new-1']) })
  await transaction.commit()
  let refused
  try {
    await left.commit()
  } catch (error) {
    refused = error
  }
  expect(refused, 'the older producer committed')
  same(await read(topic, ['new-0', 'new-1']), ['new-0', 'new-1'])
  await old.disconnect()
  await newer.disconnect()
  return `the older heard ${refused.type ?? refused.name}`
}

async function offsetsArePartOfTheTransaction() {
  const [source, target] = [await create('js-source'), await create('js-target')]
  const groupId = unique('js-offsets')
  const producer = await transactional(unique('js-offsets'))
  for (const [turn, ends] of [[1, 'commit'], [2, 'abort'], [3, 'commit'], [4, 'abort']]) {
    const transaction = await producer.transaction()
    await transaction.send({ topic: target, messages: messages([`turn-${turn}`]) })
    await transaction.sendOffsets({
      consumerGroupId: groupId,
      topics: [{ topic: source, partitions: [{ partition: 0, offset: `${turn}` }] }],
    })
    await transaction[ends]()
    const [found] = await admin.fetchOffsets({ groupId, topics: [source] })
    const offset = found.partitions.find(({ partition }) => partition === 0).offset
    const counts = ends === 'commit' ? turn : turn - 1
    expect(Number(offset) === counts, `turn ${turn}: ${offset}`)
  }
  same(await read(target, ['turn-1', 'turn-3']), ['turn-1', 'turn-3'])
  await producer.disconnect()
  return 'two of four turns count, with their offsets'
}

await admin.connect()
await run([commitsShowAndAbortsDoNot, aNewerProducerFencesTheOlder, offsetsArePartOfTheTransaction])
