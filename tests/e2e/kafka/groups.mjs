// kafkajs: groups that rebalance, commits that resume.
//
// Usage: node groups.mjs HOST:PORT

import { AssignerProtocol, client, expect, numberOf, run, unique, value, waitFor } from './common.mjs'

const kafka = client('groups')
const admin = kafka.admin()
const PARTITIONS = 6

async function produce(topic, start, stop) {
  const producer = kafka.producer()
  await producer.connect()
  const messages = []
  for (let number = start; number < stop; number += 1) {
    const partition = number % PARTITIONS
    messages.push({ partition, value: value(topic, partition, number) })
  }
  await producer.send({ topic, messages })
  await producer.disconnect()
}

async function member(topic, groupId, seen) {
  const consumer = kafka.consumer({
    groupId, maxWaitTimeInMs: 200, sessionTimeout: 10_000, heartbeatInterval: 300,
  })
  const joined = { shares: [] }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    joined.shares = payload.memberAssignment[topic] ?? []
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommitInterval: 200,
    eachMessage: async ({ partition, message }) => {
      const number = numberOf(topic, partition, message.value)
      seen.set(number, (seen.get(number) ?? 0) + 1)
    },
  })
  return { consumer, joined }
}

const settled = (members) => () => {
  const all = members.flatMap(({ joined }) => joined.shares).sort((a, b) => a - b)
  const even = members.every(({ joined }) => joined.shares.length === PARTITIONS / members.length)
  return even && all.join() === '0,1,2,3,4,5'
}

const checks = [
  async function membersComeAndGo() {
    await admin.connect()
    const [topic, group, seen] = [unique('js-group'), unique('js-readers'), new Map()]
    await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }] })
    await produce(topic, 0, 600)
    const first = await member(topic, group, seen)
    await waitFor(settled([first]), 'one member with everything')
    const second = await member(topic, group, seen)
    await waitFor(settled([first, second]), 'two members with half each')
    await produce(topic, 600, 1200)
    const third = await member(topic, group, seen)
    await waitFor(settled([first, second, third]), 'three members with a third each')
    await produce(topic, 1200, 1800)
    await waitFor(() => seen.size === 1800, '1800 records')
    await second.consumer.disconnect()
    await waitFor(settled([first, third]), 'two members again')
    await produce(topic, 1800, 2400)
    await waitFor(() => seen.size === 2400, '2400 records')
    await first.consumer.disconnect()
    await third.consumer.disconnect()
    const doubled = [...seen.values()].filter((count) => count > 1).length
    return `2400 records, ${doubled} read again after a rebalance`
  },
  async function commitsResume() {
    const [topic, group] = [unique('js-resume'), unique('js-resume')]
    await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }] })
    await produce(topic, 0, 600)
    const seen = new Map()
    const first = await member(topic, group, seen)
    await waitFor(() => seen.size === 600, '600 records')
    await first.consumer.disconnect()
    const offsets = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    expect(offsets[0].partitions.every(({ offset }) => offset === '100'), JSON.stringify(offsets))
    const again = new Map()
    const second = await member(topic, group, again)
    await produce(topic, 600, 660)
    await waitFor(() => again.size === 60, 'the 60 new records')
    await second.consumer.disconnect()
    expect([...again.keys()].every((number) => number >= 600), 'only what was not committed')
  },
  async function groupsAreDescribedAndDeleted() {
    const [topic, group] = [unique('js-desc'), unique('js-desc')]
    await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }] })
    const one = await member(topic, group, new Map())
    await waitFor(settled([one]), 'a member')
    const { groups } = await admin.describeGroups([group])
    expect(groups[0].state === 'Stable' && groups[0].members.length === 1, JSON.stringify(groups[0]))
    const decoded = AssignerProtocol.MemberAssignment.decode(groups[0].members[0].memberAssignment)
    expect(decoded.assignment[topic].length === PARTITIONS, 'the assignment comes back')
    expect((await admin.listGroups()).groups.some(({ groupId }) => groupId === group), 'listed')
    await one.consumer.disconnect()
    await admin.deleteGroups([group])
    expect(!(await admin.listGroups()).groups.some(({ groupId }) => groupId === group), 'deleted')
    await admin.disconnect()
  },
]

await run(checks)
