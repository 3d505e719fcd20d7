// kafkajs: topics, every compression, idempotence, offsets, time, headers, configuration.
//
// Usage: node roundtrip.mjs HOST:PORT

import {
  client, CompressionTypes, ConfigResourceTypes, expect, numberOf, run, unique, value, waitFor,
} from './common.mjs'

const kafka = client('roundtrip')
const admin = kafka.admin()
const PARTITIONS = 3
const COUNT = 1500

async function create(name, numPartitions = PARTITIONS, configEntries = []) {
  await admin.createTopics({ topics: [{ topic: name, numPartitions, replicationFactor: 1, configEntries }] })
  return name
}

/** All records of a topic, `count` of them, from the beginning or from given offsets. */
async function read(topic, count, seeks = []) {
  const consumer = kafka.consumer({ groupId: unique('reader'), maxWaitTimeInMs: 200 })
  const records = []
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => void records.push({ partition, ...message }),
  })
  for (const seek of seeks) consumer.seek({ topic, ...seek })
  try {
    await waitFor(() => records.length >= count, `${count} records of ${topic}`)
  } finally {
    await consumer.disconnect()
  }
  return records
}

async function roundTrip(name, compression, idempotent) {
  const topic = await create(unique(`js-${name}`))
  const producer = kafka.producer({ idempotent, maxInFlightRequests: idempotent ? 1 : 5 })
  await producer.connect()
  for (let start = 0; start < COUNT; start += 100) {
    const messages = Array.from({ length: 100 }, (_, i) => {
      const [number, partition] = [start + i, (start + i) % PARTITIONS]
      return { partition, key: `${number}`, value: value(topic, partition, number) }
    })
    const answers = await producer.send({ topic, messages, compression, acks: -1 })
    for (const { partition, baseOffset } of answers) {
      const before = Math.ceil((start - partition) / PARTITIONS)
      expect(Number(baseOffset) === before, `partition ${partition}: ${baseOffset}, not ${before}`)
    }
  }
  await producer.disconnect()
  const records = await read(topic, COUNT)
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    const mine = records.filter((record) => record.partition === partition)
    mine.forEach((record, index) => {
      const number = numberOf(topic, partition, record.value)
      expect(number === partition + index * PARTITIONS, 'lost, doubled or reordered')
      expect(Number(record.offset) === index, 'offsets have gaps')
      expect(record.key.toString() === `${number}`, 'a key changed')
    })
  }
  return `${records.length} records`
}

const checks = [
  async function connect() {
    await admin.connect()
  },
  async function uncompressed() {
    return roundTrip('none', CompressionTypes.None, false)
  },
  async function gzip() {
    return roundTrip('gzip', CompressionTypes.GZIP, false)
  },
  async function gzipIdempotent() {
    return roundTrip('gzip-idempotent', CompressionTypes.GZIP, true)
  },
  async function snappy() {
    return roundTrip('snappy', CompressionTypes.Snappy, false)
  },
  async function lz4() {
    return roundTrip('lz4', CompressionTypes.LZ4, false)
  },
  async function zstd() {
    return roundTrip('zstd', CompressionTypes.ZSTD, true)
  },
  async function idempotentUncompressed() {
    return roundTrip('idempotent', CompressionTypes.None, true)
  },
  async function offsetsAndTimes() {
    const topic = await create(unique('js-time'), 1)
    const producer = kafka.producer()
    await producer.connect()
    const base = 1_700_000_000_000
    const messages = Array.from({ length: 100 }, (_, number) => ({
      value: value(topic, 0, number), timestamp: `${base + number * 1000}`,
    }))
    await producer.send({ topic, messages })
    await producer.disconnect()
    const at = async (time) => (await admin.fetchTopicOffsetsByTimestamp(topic, time))[0].offset
    expect((await at(base + 41_001)) === '42', `${await at(base + 41_001)}, not 42`)
    expect((await at(base - 1)) === '0', 'before the first')
    const [{ low, high }] = await admin.fetchTopicOffsets(topic)
    expect(low === '0' && high === '100', `${low} to ${high}`)
    const records = await read(topic, 43, [{ partition: 0, offset: '57' }])
    const first = records.find((record) => record.offset === '57')
    expect(numberOf(topic, 0, first.value) === 57, 'a seek into a batch')
  },
  async function headersAndNull() {
    const topic = await create(unique('js-headers'), 1)
    const producer = kafka.producer()
    await producer.connect()
    const headers = { one: 'a', many: ['b', 'c'] }
    await producer.send({ topic, messages: [{ key: 'k', value: null, headers }] })
    await producer.disconnect()
    const [record] = await read(topic, 1)
    expect(record.value === null, 'null value')
    expect(record.headers.one.toString() === 'a', 'header')
    expect(record.headers.many.map(String).join() === 'b,c', 'a header given twice')
  },
  async function administration() {
    const topic = await create(unique('js-admin'), 2, [{ name: 'retention.ms', value: '60000' }])
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    expect(topics[0].partitions.length === 2, 'two partitions')
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
    const grown = await admin.fetchTopicMetadata({ topics: [topic] })
    expect(grown.topics[0].partitions.length === 4, 'four partitions')
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
    const { resources } = await admin.describeConfigs({ resources: [resource], includeSynonyms: false })
    const shown = Object.fromEntries(resources[0].configEntries.map((e) => [e.configName, e.configValue]))
    expect(shown['retention.ms'] === '60000' && 'segment.bytes' in shown, JSON.stringify(shown))
    const configEntries = [{ name: 'retention.ms', value: '70000' }]
    await admin.alterConfigs({ validateOnly: false, resources: [{ ...resource, configEntries }] })
    const cluster = await admin.describeCluster()
    expect(cluster.clusterId === 'lantern' && cluster.brokers.length === 1, JSON.stringify(cluster))
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '-1' }] })
    await admin.deleteTopics({ topics: [topic] })
    expect(!(await admin.listTopics()).includes(topic), 'deleted')
  },
]

await run(checks)
