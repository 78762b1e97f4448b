import test from 'ava'
import { publisherOf } from '#phyllo/data/kv-events/topic.js'

test("a topic's publisher ends at the first @ behind it: models may have one in their names", t => {
  t.is(publisherOf('kv@10.0.0.1:8000@meta/llama@2026-01'), '10.0.0.1:8000')
  t.is(publisherOf('kv@[fd00::1]:8000@m'), '[fd00::1]:8000')
  t.is(publisherOf('kv@pod-7@m'), 'pod-7')
  t.is(publisherOf('kv@pod-7'), 'pod-7')
  for (const topic of ['', 'kv', 'kv@', 'kv@@m', 'events@pod-7@m']) t.is(publisherOf(topic), undefined, topic)
})
